from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch

from continual_df.losses.binary_of_tasks import BinaryLoss, binary_of_tasks

KINDS: tuple[BinaryLoss, ...] = get_args(BinaryLoss)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def shares(score_2: np.ndarray) -> np.ndarray:
    return np.asarray(score_2 / score_2.sum())


def bce(p_2: np.ndarray, y: int) -> float:
    target = np.eye(2)[y]
    return float(-np.mean(target * np.log(p_2) + (1 - target) * np.log(1 - p_2)))


NAIVE: dict[str, Callable[[np.ndarray, int], float]] = {
    "sum_logit": lambda z_T2, y: bce(shares(sigmoid(z_T2).sum(axis=0)), y),
    "max": lambda z_T2, y: bce(shares(sigmoid(z_T2).max(axis=0)), y),
    "sum_feat": lambda z_T2, y: bce(sigmoid(sigmoid(z_T2).sum(axis=0)), y),
    "sum_log": lambda z_T2, y: float(shares(np.log(sigmoid(z_T2)).sum(axis=0))[y]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_tasks", [1, 4])
def test_it_is_that_of_each_row_as_the_paper_counts_it(kind: BinaryLoss, num_tasks: int) -> None:
    rng = np.random.default_rng(0)
    logit, label = rng.normal(scale=2, size=(6, num_tasks, 2)), rng.integers(0, 2, 6)
    expected = [NAIVE[kind](z_T2, y) for z_T2, y in zip(logit, label, strict=True)]
    loss_B = binary_of_tasks(torch.from_numpy(logit), torch.from_numpy(label), kind)
    np.testing.assert_allclose(loss_B.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_it_falls_when_a_fake_looks_more_fake_to_any_task(kind: BinaryLoss) -> None:
    plain, more = torch.zeros(1, 3, 2), torch.zeros(1, 3, 2)
    more[0, 1, 1] = 1.0
    fake = torch.tensor([1])
    assert binary_of_tasks(more, fake, kind) < binary_of_tasks(plain, fake, kind)
    assert binary_of_tasks(more, 1 - fake, kind) > binary_of_tasks(plain, 1 - fake, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [-200.0, 200.0])
def test_huge_logits_give_finite_losses_and_gradients(kind: BinaryLoss, size: float) -> None:
    logit_BTC = torch.full((2, 3, 2), size, requires_grad=True)
    loss = binary_of_tasks(logit_BTC, torch.tensor([0, 1]), kind).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert logit_BTC.grad is not None
    assert torch.isfinite(logit_BTC.grad).all()
