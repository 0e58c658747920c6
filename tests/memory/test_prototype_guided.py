from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.ledger import Ledger
from continual_df.memory import PrototypeGuided, select_prototype_guided
from continual_df.memory.k_means import k_means

DIRECTIONS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def three_bunches(sizes: tuple[int, int, int] = (20, 20, 20)) -> tuple[torch.Tensor, np.ndarray]:
    """Return features in three directions, of any length, and the bunch of each."""
    rng = np.random.default_rng(0)
    bunch = rng.permutation(np.repeat([0, 1, 2], sizes))
    feature = DIRECTIONS[bunch] + 0.1 * rng.normal(size=(len(bunch), 3))
    return torch.from_numpy(feature * rng.uniform(0.1, 10, size=(len(bunch), 1))), bunch


def test_k_means_finds_the_bunches_whatever_the_lengths() -> None:
    feature_ND, bunch = three_bunches()
    centroid_KD, cluster_N = k_means(feature_ND, 3, seed=0)
    assert len({(int(cluster), int(own)) for cluster, own in zip(cluster_N, bunch, strict=True)}) == 3
    unit = feature_ND / feature_ND.norm(dim=1, keepdim=True)
    for cluster in range(3):
        torch.testing.assert_close(centroid_KD[cluster], unit[cluster_N == cluster].mean(dim=0))


def test_fewer_rows_than_clusters_are_a_cluster_each() -> None:
    centroid_KD, cluster_N = k_means(three_bunches()[0][:2], 4, seed=0)
    assert len(centroid_KD) == 2
    assert sorted(cluster_N.tolist()) == [0, 1]


def test_of_equal_rows_there_is_one_cluster_and_the_others_are_empty() -> None:
    _, cluster_N = k_means(torch.ones(5, 3), 3, seed=0)
    assert len(set(cluster_N.tolist())) == 1
    assert sorted(select_prototype_guided(torch.ones(5, 3), 4, num_prototypes=3, seed=0).tolist()) == [0, 1, 2, 3]


def test_the_ledger_has_the_distances_of_k_means() -> None:
    with Ledger().activate() as ledger, ledger.phase("selection"):
        k_means(three_bunches()[0], 3, seed=0)
    passes = ledger.cost().flops / (2 * 60 * 3 * 3)
    assert passes == int(passes) > 0


def test_each_bunch_gives_its_most_central_rows_in_turn() -> None:
    feature_ND, bunch = three_bunches()
    chosen = select_prototype_guided(feature_ND, 7, num_prototypes=3, seed=0).numpy()
    assert sorted(np.bincount(bunch[chosen])) == [2, 2, 3]
    unit = (feature_ND / feature_ND.norm(dim=1, keepdim=True)).numpy()
    for number in range(3):
        own = np.flatnonzero(bunch == number)
        distance = np.linalg.norm(unit[own] - unit[own].mean(axis=0), axis=1)
        count = np.isin(chosen, own).sum()
        assert set(own[np.argsort(distance)[:count]]) <= set(chosen)


def test_what_a_small_bunch_cannot_fill_goes_to_the_others() -> None:
    feature_ND, bunch = three_bunches((2, 20, 20))
    chosen = select_prototype_guided(feature_ND, 12, num_prototypes=3, seed=0).numpy()
    assert np.bincount(bunch[chosen]).tolist() == [2, 5, 5]


def test_no_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="num_prototypes must be at least 1, got 0"):
        PrototypeGuided(0)
