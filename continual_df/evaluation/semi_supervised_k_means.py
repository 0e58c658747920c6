"""Clusters of features of which some have a class (GCD), and how many clusters there are.

Letters: N rows, D features, K clusters, C known classes.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from continual_df.evaluation.open_world import attribution_scores

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


class Clusters(NamedTuple):
    """A grouping of N rows.

    Attributes:
        cluster_N: Cluster of each row: c for the c-th of the known classes in ascending order, then the others.
        centre_KD: Mean of the unit-length features of each cluster.
        inertia: Sum of the squared distances of all rows to their centres.
    """

    cluster_N: Ids
    centre_KD: Floats
    inertia: float


class ClusterNumber(NamedTuple):
    """An estimate of the number of clusters.

    Attributes:
        num_clusters: The number of the best accuracy; the smallest of several.
        accuracies: Hungarian accuracy of labelled rows, by each number that was tried.
    """

    num_clusters: int
    accuracies: dict[int, float]


def semi_supervised_k_means(
    feature_ND: NDArray[np.floating],
    class_N: Ids,
    num_clusters: int,
    seed: int = 0,
    num_starts: int = 10,
    max_steps: int = 200,
) -> Clusters:
    """Return K-means of the features at unit length in which each labelled row stays in the cluster of its class.

    Centres of classes begin at the means of their labelled rows, the others at unlabelled rows by the rule of k-means++, given
    those centres. Of several starts that of the least inertia is returned. A cluster that becomes empty keeps its centre.

    Vaze et al., 2022, arXiv:2201.02609.

    Args:
        feature_ND: Features.
        class_N: Class of each row, any ids of at least 0, and -1 where it has no label.
        num_clusters: Number K of clusters, at least that of the classes.
        seed: Of the starts.
        num_starts: Number of starts, at least 1.
        max_steps: Most steps of Lloyd's algorithm, at least 1.

    Raises:
        ValueError: If there are fewer clusters than classes, none at all, or no unlabelled row for the others to begin at.
    """
    known_C = np.unique(class_N[class_N >= 0])
    free_N = class_N < 0
    if num_clusters < max(len(known_C), 1):
        raise ValueError(
            f"num_clusters must be at least the number of classes, {len(known_C)}, and 1, got {num_clusters}"
        )
    if num_clusters > len(known_C) and not free_N.any():
        raise ValueError(
            f"num_clusters is {num_clusters}, but all rows are of the {len(known_C)} classes: give that number"
        )
    unit_ND = normalize(feature_ND.astype(np.float64))
    forced_N = np.where(free_N, 0, np.searchsorted(known_C, class_N))
    known_CD = _means(unit_ND[~free_N], forced_N[~free_N], np.zeros((len(known_C), unit_ND.shape[1])))
    generators = np.random.default_rng(seed).spawn(num_starts)
    starts = (_first_centres(unit_ND[free_N], known_CD, num_clusters, generator) for generator in generators)
    return min(
        (_lloyd(unit_ND, free_N, forced_N, start_KD, max_steps) for start_KD in starts), key=lambda found: found[2]
    )


def labelled_accuracy(feature_ND: NDArray[np.floating], class_N: Ids, num_clusters: int, seed: int = 0) -> float:
    """Return the Hungarian accuracy of the labelled rows in plain K-means of all features at unit length.

    Args:
        feature_ND: Features.
        class_N: Class of each row, -1 where it has no label; some have one.
        num_clusters: Number of clusters, at most that of the rows.
        seed: Of K-means.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that there are fewer different rows
        fitted = KMeans(num_clusters, n_init=10, random_state=seed).fit(normalize(feature_ND.astype(np.float64)))
    labelled_N = class_N >= 0
    return attribution_scores(class_N[labelled_N], fitted.labels_[labelled_N], known=())["all_acc"]


def estimate_num_clusters(feature_ND: NDArray[np.floating], class_N: Ids, largest: int, seed: int = 0) -> ClusterNumber:
    """Return the number of clusters at which plain K-means groups the labelled rows best, by Brent's bounded search.

    It is searched between the number of known classes and ``largest``. Features in which known classes fall apart last give just
    the number of known classes: labelled rows say nothing of how novel ones divide.

    Vaze et al., 2022, arXiv:2201.02609.

    Args:
        feature_ND: Features.
        class_N: Class of each row, -1 where it has no label; some have one.
        largest: Largest number, more than that of the known classes and at most that of the rows.
        seed: Of K-means.

    Raises:
        ValueError: If there is no labelled row, or ``largest`` is out of its range.
    """
    num_known = len(np.unique(class_N[class_N >= 0]))
    if not num_known:
        raise ValueError("estimate_num_clusters needs labelled rows, got none")
    if not num_known < largest <= len(class_N):
        raise ValueError(f"largest must be within ({num_known}, {len(class_N)}] (known classes, rows), got {largest}")
    accuracies: dict[int, float] = {}

    def cost(number: float) -> float:
        num = round(number)
        if num not in accuracies:
            accuracies[num] = labelled_accuracy(feature_ND, class_N, num, seed)
        return -accuracies[num]

    cost(num_known)  # the search never tries its bounds
    minimize_scalar(cost, bounds=(num_known, largest), method="bounded", options={"xatol": 0.5})
    return ClusterNumber(max(sorted(accuracies), key=accuracies.__getitem__), dict(sorted(accuracies.items())))


def _lloyd(unit_ND: Floats, free_N: NDArray[np.bool_], forced_N: Ids, start_KD: Floats, max_steps: int) -> Clusters:
    centre_KD, cluster_N = start_KD, forced_N
    for step in range(max_steps):
        found_N = forced_N.copy()
        found_N[free_N] = _square_distances(unit_ND[free_N], centre_KD).argmin(axis=1)
        if step and (found_N == cluster_N).all():
            break
        cluster_N = found_N
        centre_KD = _means(unit_ND, cluster_N, centre_KD)
    return Clusters(cluster_N, centre_KD, float(np.square(unit_ND - centre_KD[cluster_N]).sum()))


def _first_centres(free_UD: Floats, known_CD: Floats, num_clusters: int, generator: np.random.Generator) -> Floats:
    """Return ``known_CD`` and below it rows of ``free_UD``, each drawn in proportion to its squared distance to those before."""
    centres = list(known_CD)
    nearest_U = _square_distances(free_UD, known_CD).min(axis=1) if centres else np.ones(len(free_UD))
    while len(centres) < num_clusters:
        total = nearest_U.sum()
        share_U = nearest_U / total if total > 0 else None  # all rows lie on centres: any will do
        centres.append(free_UD[generator.choice(len(free_UD), p=share_U)])
        added_U = _square_distances(free_UD, centres[-1][np.newaxis])[:, 0]
        nearest_U = added_U if len(centres) == 1 else np.minimum(nearest_U, added_U)
    return np.array(centres)


def _square_distances(unit_ND: Floats, centre_KD: Floats) -> Floats:
    """Return (N, K), of vectors of length 1 or 0 to any; at least 0, whatever the rounding."""
    length_N1 = np.square(unit_ND).sum(axis=1, keepdims=True)
    distances_NK: Floats = length_N1 - 2 * unit_ND @ centre_KD.T + np.square(centre_KD).sum(axis=1)
    return distances_NK.clip(min=0)


def _means(unit_ND: Floats, cluster_N: Ids, before_KD: Floats) -> Floats:
    """Return the mean of each cluster, that of ``before_KD`` where it is empty."""
    member_KN = np.arange(len(before_KD))[:, np.newaxis] == cluster_N
    count_K1 = member_KN.sum(axis=1, keepdims=True)
    return np.where(count_K1 > 0, member_KN @ unit_ND / np.maximum(count_K1, 1), before_KD)
