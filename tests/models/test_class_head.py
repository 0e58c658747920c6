from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.models.class_head import ClassHead, fake_against_real


def test_a_head_grows_by_new_classes_and_keeps_the_old_ones() -> None:
    head = ClassHead(4)
    head.grow(2)
    feature_BD = torch.rand(3, 4)
    before = head(feature_BD)
    head.grow(2)
    head.grow(5)
    logit_BC = head(feature_BD)
    assert logit_BC.shape == (3, 5)
    assert torch.equal(logit_BC[:, :2], before)
    assert head.weight_CD.shape == (5, 4)
    assert len(list(head.parameters())) == 4


def test_fake_against_real_is_the_logit_of_one_minus_the_probability_of_real() -> None:
    logit_BC = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    exp_BC = np.exp(logit_BC.numpy().astype(float))
    fake_B = 1 - exp_BC[:, 0] / exp_BC.sum(axis=1)
    assert fake_against_real(logit_BC).sigmoid().numpy() == pytest.approx(fake_B, abs=1e-6)
