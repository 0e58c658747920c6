from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info
from torch import Tensor

from continual_df.models.domain_keys import DomainKeys


def around(*angles: float, num: int = 8) -> Tensor:
    """Return features of any length within 0.01 rad of ``angles``."""
    rng = np.random.default_rng(0)
    angle = np.repeat(angles, num) + rng.uniform(-0.01, 0.01, num * len(angles))
    length = rng.uniform(0.1, 10, len(angle))
    return torch.tensor(np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1), dtype=torch.float32)


def keys_of(*tasks: Tensor, num_keys: int = 2) -> DomainKeys:
    keys = DomainKeys(num_keys, 2)
    for feature_ND in tasks:
        keys.grow()
        keys.fit(feature_ND)
    return keys


def test_keys_are_the_centres_of_directions_whatever_their_length() -> None:
    keys = keys_of(around(0.3, 2.0))
    angles = torch.atan2(keys.key_TKD[0, :, 1], keys.key_TKD[0, :, 0]).sort().values
    torch.testing.assert_close(angles, torch.tensor([0.3, 2.0]), atol=0.01, rtol=0)


def test_an_image_is_from_the_task_of_the_nearest_key() -> None:
    keys = keys_of(around(0.0, 2.0), around(1.0, 3.0))
    found = keys(torch.cat([around(a) for a in (0.1, 1.1, 1.9, 2.9)]))
    assert found.tolist() == [0] * 8 + [1] * 8 + [0] * 8 + [1] * 8


def test_the_nearest_key_is_that_of_a_naive_search() -> None:
    rng = np.random.default_rng(1)
    keys = DomainKeys(5, 7)
    for task in range(3):
        keys.grow()
        keys.fit(torch.tensor(rng.standard_normal((40, 7)) + 0.5 * task, dtype=torch.float32))
    feature_BD = torch.tensor(rng.standard_normal((20, 7)) + 0.5, dtype=torch.float32)
    for feature, found in zip(feature_BD.numpy(), keys(feature_BD).tolist(), strict=True):
        unit = feature / math.sqrt((feature**2).sum())
        nearest = [min(((unit - key) ** 2).sum() for key in task) for task in keys.key_TKD.numpy()]
        assert found == int(np.argmin(nearest))


def test_a_task_without_keys_gets_every_image() -> None:
    keys = keys_of(around(0.0))
    keys.grow()
    assert keys(around(0.0, 1.0)).tolist() == [1] * 16


@pytest.mark.parametrize("feature_ND", [around(1.0, num=1), around(1.0, num=1).expand(9, 2)])
def test_less_different_features_than_keys_are_enough(feature_ND: Tensor) -> None:
    keys = keys_of(around(0.0), feature_ND, num_keys=5)
    assert torch.isfinite(keys.key_TKD).all()
    assert keys(around(1.0)).tolist() == [1] * 8


def test_shapes_follow_from_the_number_of_tasks_and_state_from_a_checkpoint(tmp_path: Path) -> None:
    keys, other = keys_of(around(0.0), around(1.0)), DomainKeys(2, 2)
    torch.save(keys.state_dict(), tmp_path / "keys.pt")
    other.grow()
    other.grow()
    other.load_state_dict(torch.load(tmp_path / "keys.pt", weights_only=True))
    assert torch.equal(other.key_TKD, keys.key_TKD)


def test_keys_are_fitted_by_one_thread_which_adds_up_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    class Asked(torch.nn.Identity):
        def __init__(self, *_: object, **__: object) -> None:
            super().__init__()

        def fit(self, unit_ND: np.ndarray) -> Asked:
            threads.extend(pool["num_threads"] for pool in threadpool_info())
            self.cluster_centers_ = unit_ND[:2]
            return self

    monkeypatch.setattr("continual_df.models.domain_keys.KMeans", Asked)
    keys_of(around(0.0))
    assert set(threads) == {1}
