from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.margin_cross_entropy import adaptive_margin, margin_cross_entropy, uncertainty
from continual_df.losses.mean_entropy import mean_entropy
from continual_df.losses.pair import pair_loss
from continual_df.losses.pseudo_label import pseudo_label_loss
from continual_df.losses.soft_pseudo_label import SoftPseudoLabeller


@pytest.mark.parametrize(
    ("num_heads", "margin", "expected"), [(20, 0.2, 2.8067), (22, 0.2, 2.9011), (20, -0.2, 3.1866)]
)
def test_heads_that_know_nothing_have_the_known_loss(num_heads: int, margin: float, expected: float) -> None:
    loss_B = margin_cross_entropy(torch.zeros(4, num_heads), torch.tensor([0, 3, 5, 7]), margin)
    assert loss_B.tolist() == pytest.approx([expected] * 4, abs=1e-4)


def test_cpl_begins_at_its_known_total() -> None:
    logit_BK, class_B = torch.zeros(8, 20), torch.tensor([0, 1, 2, 3])
    loss = (
        margin_cross_entropy(logit_BK[:4], class_B, 0.2).mean()
        + 0.5 * pair_loss(logit_BK, logit_BK, torch.arange(8)).mean()
    )
    loss = loss + 0.5 * pseudo_label_loss(logit_BK[4:], SoftPseudoLabeller()(logit_BK[4:])).mean()
    assert (loss + mean_entropy(logit_BK) - math.log(20)).item() == pytest.approx(
        1.31 + 0.075, abs=0.01
    )  # all votes pass


@pytest.mark.parametrize(("margin", "scale"), [(0.0, 1.0), (0.3, 10.0), (-0.5, 2.0)])
def test_it_is_the_cross_entropy_of_logits_with_the_margin(margin: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    logit, label = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    expected = []
    for row, y in zip(logit, label, strict=True):
        row = row.copy()
        row[y] += scale * margin
        expected.append(math.log(np.exp(row).sum()) - row[y])
    found = margin_cross_entropy(torch.from_numpy(logit), torch.from_numpy(label), margin, scale)
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


def test_uncertainty_is_one_minus_the_mean_confidence() -> None:
    logit_UK = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], requires_grad=True).log()
    found = uncertainty(logit_UK)
    assert found.item() == pytest.approx(0.45)
    assert not found.requires_grad


def test_the_margin_is_the_uncertainty_up_to_a_half() -> None:
    assert [adaptive_margin(u) for u in (0.0, 0.3, 0.5, 0.9)] == [0.0, 0.3, 0.5, 0.5]
    assert adaptive_margin(0.9, most=0.7) == 0.7
