from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from continual_df.evaluation.open_world import attribution_scores
from continual_df.evaluation.semi_supervised_k_means import (
    estimate_num_clusters,
    labelled_accuracy,
    semi_supervised_k_means,
)


def blobs(num_classes: int, each: int = 30, spread: float = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    centre = np.linalg.qr(generator.normal(size=(12, 12)))[0][:num_classes]
    label = np.repeat(np.arange(num_classes), each)
    return centre[label] * 3 + generator.normal(size=(len(label), 12)) * spread * 3, label


def partly(label: np.ndarray, known: list[int]) -> np.ndarray:
    """Keep the class of every second row of the known ones."""
    return np.where(np.isin(label, known) & (np.arange(len(label)) % 2 == 0), label, -1)


def test_known_and_novel_classes_are_found() -> None:
    feature_ND, label_N = blobs(7)
    found = semi_supervised_k_means(feature_ND, partly(label_N, [1, 4, 5]), 7)
    assert attribution_scores(label_N, found.cluster_N, known=())["all_acc"] == 1
    for cluster, class_id in enumerate([1, 4, 5]):
        assert (found.cluster_N[label_N == class_id] == cluster).all()
    assert found.centre_KD.shape == (7, 12)


@pytest.mark.parametrize("seed", range(5))
def test_labelled_rows_stay_in_the_cluster_of_their_class(seed: int) -> None:
    generator = np.random.default_rng(seed)
    feature_ND = generator.normal(size=(60, 4))
    class_N = generator.choice([-1, -1, 3, 8], 60)  # nothing in the features speaks for them
    found = semi_supervised_k_means(feature_ND, class_N, 5, seed)
    assert (found.cluster_N[class_N == 3] == 0).all()
    assert (found.cluster_N[class_N == 8] == 1).all()
    assert set(found.cluster_N) <= set(range(5))


def test_it_has_settled() -> None:
    feature_ND, label_N = blobs(5, spread=0.5)
    class_N = partly(label_N, [0, 1])
    found = semi_supervised_k_means(feature_ND, class_N, 6)
    unit_ND = feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)
    distance_NK = np.array([[((row - centre) ** 2).sum() for centre in found.centre_KD] for row in unit_ND])
    free_N = class_N < 0
    assert (distance_NK[free_N].argmin(axis=1) == found.cluster_N[free_N]).all()
    means = np.array([unit_ND[found.cluster_N == k].mean(axis=0) for k in range(6)])
    np.testing.assert_allclose(found.centre_KD, means)
    assert found.inertia == pytest.approx(distance_NK[np.arange(len(unit_ND)), found.cluster_N].sum())


def test_of_a_few_rows_it_is_the_best_of_all_groupings() -> None:
    generator = np.random.default_rng(3)
    feature_ND = generator.normal(size=(8, 3))
    unit_ND = feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)
    class_N = np.array([0, 0, 1, -1, -1, -1, -1, -1])
    least = np.inf
    for rest in product(range(3), repeat=5):
        cluster_N = np.array([0, 0, 1, *rest])
        parts = [unit_ND[cluster_N == k] for k in range(3)]
        least = min(least, sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts if len(part)))
    assert semi_supervised_k_means(feature_ND, class_N, 3, num_starts=40).inertia == pytest.approx(least)


def test_the_same_seed_gives_the_same_clusters_and_more_starts_are_no_worse() -> None:
    feature_ND, label_N = blobs(8, spread=0.6)
    class_N = partly(label_N, [0, 1])
    one, two = (semi_supervised_k_means(feature_ND, class_N, 9, 4, num_starts=2) for _ in range(2))
    assert (one.cluster_N == two.cluster_N).all()
    assert semi_supervised_k_means(feature_ND, class_N, 9, 4, num_starts=8).inertia <= one.inertia


def test_lengths_of_features_do_not_matter() -> None:
    feature_ND, label_N = blobs(5)
    class_N, length_N1 = partly(label_N, [0, 1]), np.random.default_rng(0).uniform(0.1, 10, (len(label_N), 1))
    plain, scaled = (semi_supervised_k_means(f, class_N, 5).cluster_N for f in (feature_ND, feature_ND * length_N1))
    assert (plain == scaled).all()


@pytest.mark.parametrize(
    ("class_id", "num_clusters"), [([-1] * 6, 1), ([-1] * 6, 3), ([0, 1, 0, 1, 0, 1], 2), ([0, 0, 0, 0, 0, -1], 4)]
)
def test_equal_rows_and_any_mixture_are_clustered(class_id: list[int], num_clusters: int) -> None:
    found = semi_supervised_k_means(np.ones((6, 2)), np.array(class_id), num_clusters)
    assert np.isfinite(found.centre_KD).all()
    assert found.centre_KD.shape == (num_clusters, 2)
    assert found.inertia == pytest.approx(0)


@pytest.mark.parametrize(
    ("class_id", "num_clusters", "message"),
    [
        ([0, 5, -1], 1, "num_clusters must be at least the number of classes, 2, and 1, got 1"),
        ([-1, -1, -1], 0, "num_clusters must be at least the number of classes, 0, and 1, got 0"),
        ([0, 5, 5], 3, "num_clusters is 3, but all rows are of the 2 classes: give that number"),
    ],
)
def test_numbers_that_cannot_be_are_refused(class_id: list[int], num_clusters: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        semi_supervised_k_means(np.eye(3), np.array(class_id), num_clusters)


def test_the_number_is_that_of_the_best_labelled_accuracy_among_those_tried() -> None:
    feature_ND, label_N = blobs(9, each=12, spread=0.15)
    class_N = partly(label_N, [0, 1, 2, 3, 4, 5])
    found = estimate_num_clusters(feature_ND, class_N, 30)
    assert found.accuracies[found.num_clusters] == max(found.accuracies.values())
    assert found.accuracies == {num: labelled_accuracy(feature_ND, class_N, num) for num in found.accuracies}
    assert min(found.accuracies) == 6
    assert len(found.accuracies) < 20  # a search, not a sweep
    assert found.accuracies[found.num_clusters] > found.accuracies[max(found.accuracies)]


def test_labelled_accuracy_is_one_of_parted_classes_and_falls_when_they_are_split_or_joined() -> None:
    feature_ND, label_N = blobs(5)
    class_N = partly(label_N, [0, 1, 2, 3, 4])
    right, split, joined = (labelled_accuracy(feature_ND, class_N, num) for num in (5, 25, 2))
    assert right == 1
    assert split < 0.6
    assert joined <= 0.4 + 1e-9


@pytest.mark.parametrize(
    ("class_id", "largest", "message"),
    [
        ([-1, -1, -1], 2, "estimate_num_clusters needs labelled rows, got none"),
        ([0, 1, -1], 2, r"largest must be within \(2, 3\] \(known classes, rows\), got 2"),
        ([0, 1, -1], 4, r"largest must be within \(2, 3\] \(known classes, rows\), got 4"),
    ],
)
def test_searches_that_cannot_be_are_refused(class_id: list[int], largest: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_num_clusters(np.eye(3), np.array(class_id), largest)
