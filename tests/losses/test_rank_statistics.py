from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.rank_statistics import pairwise_cross_entropy, same_top_features


@pytest.mark.parametrize("num", [1, 2, 4])
def test_rows_are_alike_whose_sets_of_top_features_are_one(num: int) -> None:
    feature = np.random.default_rng(0).normal(size=(12, 5))
    tops = [set(np.argsort(row)[-num:]) for row in feature]
    expected = [[one == other for other in tops] for one in tops]
    assert same_top_features(torch.from_numpy(feature), num).tolist() == expected
    assert np.sum(expected) > 12


def test_their_order_does_not_matter() -> None:
    feature_UD = torch.tensor([[5.0, 4, 0, 1], [4, 5, 1, 0], [5, 0, 4, 1]])
    assert same_top_features(feature_UD, 2).tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_the_cross_entropy_is_that_of_the_loops() -> None:
    rng = np.random.default_rng(1)
    logit, other, same = rng.normal(size=(5, 3)) * 2, rng.normal(size=(5, 3)) * 2, rng.random((5, 5)) < 0.4
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logit, other))
    costs = [-math.log(p[i] @ q[j] if same[i, j] else 1 - p[i] @ q[j]) for i in range(5) for j in range(5)]
    found = pairwise_cross_entropy(torch.from_numpy(logit), torch.from_numpy(other), torch.from_numpy(same))
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-5)


def test_sure_pairs_have_finite_losses_and_gradients() -> None:
    logit_UK = torch.tensor([[300.0, 0, 0], [300, 0, 0], [0, 300, 0]], requires_grad=True)
    same_UU = torch.tensor([[True, False, True], [False, True, False], [True, False, True]])
    loss = pairwise_cross_entropy(logit_UK, logit_UK, same_UU)
    loss.backward()  # type: ignore[no-untyped-call]
    # of nine pairs two are wrongly different, at most -log 1e-6 each, and two wrongly the same, 300 - log 2 each
    assert loss.item() == pytest.approx(2 * (6 * math.log(10) + 300 - math.log(2)) / 9, rel=1e-3)
    assert logit_UK.grad is not None
    assert torch.isfinite(logit_UK.grad).all()
    assert logit_UK.grad.any()
