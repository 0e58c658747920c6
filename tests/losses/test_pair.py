from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.pair import pair_loss


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def test_it_is_minus_the_logarithm_of_the_inner_product() -> None:
    rng = np.random.default_rng(0)
    logit, other, positive = rng.normal(size=(6, 4)) * 3, rng.normal(size=(6, 4)) * 3, rng.integers(0, 6, 6)
    p, q = softmax(logit), softmax(other)
    expected = [-math.log(p[i] @ q[positive[i]]) for i in range(6)]
    loss_B = pair_loss(torch.from_numpy(logit), torch.from_numpy(other), torch.from_numpy(positive))
    assert loss_B.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("num_heads", "expected"), [(20, 2.9957), (22, 3.0910)])
def test_heads_that_know_nothing_cost_the_logarithm_of_their_number(num_heads: int, expected: float) -> None:
    logit_BK = torch.zeros(8, num_heads)
    assert pair_loss(logit_BK, logit_BK, torch.arange(8).roll(1)).mean().item() == pytest.approx(expected, abs=1e-4)


def test_both_members_of_a_pair_get_a_gradient_and_others_none() -> None:
    logit_BK = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    pair_loss(logit_BK, logit_BK, torch.tensor([2, 1, 2, 3]))[0].backward()  # type: ignore[no-untyped-call]
    assert logit_BK.grad is not None
    assert logit_BK.grad.abs().sum(dim=1).gt(0).tolist() == [True, False, True, False]


def test_both_views_get_a_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    logit_BK, other_BK = (torch.randn(4, 3, generator=draw, requires_grad=True) for _ in range(2))
    pair_loss(logit_BK, other_BK, torch.tensor([1, 0, 3, 2])).sum().backward()  # type: ignore[no-untyped-call]
    for view_BK in (logit_BK, other_BK):
        assert view_BK.grad is not None
        assert view_BK.grad.abs().sum(dim=1).gt(0).all()


def test_members_that_are_sure_of_different_classes_have_a_finite_loss_and_a_gradient() -> None:
    logit_BK = torch.tensor([[400.0, 0, 0], [0, 400, 0]], requires_grad=True)
    loss_B = pair_loss(logit_BK, logit_BK, torch.tensor([1, 0]))
    loss_B.sum().backward()  # type: ignore[no-untyped-call]
    assert loss_B.tolist() == pytest.approx([400 - math.log(2)] * 2)
    assert logit_BK.grad is not None
    assert torch.isfinite(logit_BK.grad).all()
    assert logit_BK.grad.any()


def test_a_row_paired_with_itself_becomes_surer() -> None:
    logit_BK = torch.tensor([[1.0, 0, 0]], requires_grad=True)
    pair_loss(logit_BK, logit_BK, torch.tensor([0])).sum().backward()  # type: ignore[no-untyped-call]
    assert logit_BK.grad is not None
    assert logit_BK.grad[0, 0] < 0 < logit_BK.grad[0, 1]
