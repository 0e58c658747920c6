from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.errors import ConfigError
from continual_df.models.class_means import FARTHEST, ClassMeans, nearest_fake_against_real
from continual_df.task import Rows


def made_means() -> tuple[ClassMeans, torch.Tensor, Rows]:
    """Two tasks: real and class 1, then real and class 2; class 3 is known, but not remembered."""
    means = ClassMeans(5)
    means.grow(2)
    means.grow(4)
    feature_ND = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)) * 3
    method = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 2, 2, 2, 2])
    rows = Rows(torch.arange(12), (method > 0).long(), method, torch.arange(12) // 6)
    means.fit(feature_ND, rows)
    return means, feature_ND, rows


def test_the_nearest_mean_decides_as_in_a_naive_version() -> None:
    means, feature_ND, rows = made_means()
    query_BD = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    logit_BC = means(query_BD).numpy()
    score_B = nearest_fake_against_real(means(query_BD)).numpy()

    def unit(x: np.ndarray) -> np.ndarray:
        return np.asarray(x / np.linalg.norm(x))

    features = [unit(f) for f in feature_ND.numpy().astype(float)]
    mean = {}
    for task, method in [(0, 0), (0, 1), (1, 0), (1, 2)]:
        own = [f for f, t, m in zip(features, rows.task, rows.method, strict=True) if (t, m) == (task, method)]
        mean[task, method] = unit(np.mean(own, axis=0))
    for z, logit_C, score in zip(query_BD.numpy().astype(float), logit_BC, score_B, strict=True):
        square = {key: np.sum((unit(z) - mu) ** 2) for key, mu in mean.items()}
        real, fake = min(square[0, 0], square[1, 0]), min(square[0, 1], square[1, 2])
        expected = [-real, -square[0, 1], -square[1, 2], -FARTHEST]
        assert logit_C == pytest.approx(expected, abs=1e-5)
        assert score == pytest.approx(real - fake, abs=1e-5)


def test_directions_point_from_the_reals_to_the_known_fakes() -> None:
    means, _, _ = made_means()
    mean_TCD = means.mean_TCD
    real_D = (mean_TCD[0, 0] + mean_TCD[1, 0]) / 2
    assert torch.allclose(means.directions(), torch.stack([mean_TCD[0, 1], mean_TCD[1, 2]]) - real_D)


def test_means_are_ready_from_fit_to_the_next_task() -> None:
    means, _, _ = made_means()
    assert means.ready
    means.grow(5)
    assert not means.ready
    assert not ClassMeans(3).ready


def test_a_memory_of_one_kind_is_refused() -> None:
    means, feature_ND, rows = made_means()
    for kind in (0, 1):
        own = rows.label == kind
        with pytest.raises(ConfigError, match=r"needs a remembered real and fake.*raise memory\.init_args\.capacity"):
            means.fit(feature_ND[own], rows.pick(own))
