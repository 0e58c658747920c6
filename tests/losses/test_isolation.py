from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.isolation import IsolationLoss, domains_of


def double_loop(feature_BD: np.ndarray, domain_B: list[int], temperature: float) -> float:
    """The formula, one anchor and one positive after another."""
    z = [row / np.linalg.norm(row) for row in feature_BD]
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if domain_B[p] == domain_B[i]]
        if not positives:
            continue
        total = sum(math.exp(z[i] @ z[a] / temperature) for a in others)
        losses.append(-np.mean([math.log(math.exp(z[i] @ z[p] / temperature) / total) for p in positives]))
    return float(np.mean(losses)) if losses else 0.0


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("domain_B", [[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0], [0, 0, 1, 2, 2, 2]])
def test_it_equals_the_double_loop(domain_B: list[int], temperature: float) -> None:
    feature_BD = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 7
    loss = IsolationLoss(temperature)(feature_BD, torch.tensor(domain_B))
    assert loss.item() == pytest.approx(double_loop(feature_BD.numpy(), domain_B, temperature), abs=1e-5)


def test_autocast_does_not_round_its_similarities() -> None:
    feature_BD, domain_B = torch.randn(6, 5), torch.tensor([0, 0, 1, 1, 2, 2])
    exact = IsolationLoss()(feature_BD, domain_B)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(IsolationLoss()(feature_BD, domain_B), exact)


def test_without_any_pair_it_is_zero_and_has_a_finite_gradient() -> None:
    feature_BD = torch.randn(3, 4, requires_grad=True)
    loss = IsolationLoss()(feature_BD, torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert feature_BD.grad is not None
    assert torch.isfinite(feature_BD.grad).all()


def test_descending_it_gathers_each_domain_and_parts_it_from_the_others() -> None:
    torch.manual_seed(0)
    feature_BD = torch.randn(12, 8, requires_grad=True)
    domain_B = torch.arange(12) % 3
    optimizer = torch.optim.Adam([feature_BD], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        IsolationLoss()(feature_BD, domain_B).backward()
        optimizer.step()
    cosine_BB = torch.nn.functional.cosine_similarity(feature_BD[:, None], feature_BD[None], dim=2)
    same_BB = domain_B[:, None] == domain_B
    assert cosine_BB[same_BB].min() > cosine_BB[~same_BB].max() + 0.5


def test_a_temperature_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        IsolationLoss(0)


def test_reals_are_of_their_real_domain_and_fakes_of_their_task() -> None:
    label_B, task_B = torch.tensor([0, 1, 0, 1, 0, 1]), torch.tensor([0, 0, 1, 1, 2, 2])
    assert domains_of(label_B, task_B, [0, 1, 0]).tolist() == [0, 1, 2, 3, 0, 5]
