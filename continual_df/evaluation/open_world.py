"""How well images are attributed to known classes, and how well those of novel ones are grouped.

Letters: N images, C true classes, K heads (predicted ids).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

Ids = NDArray[np.int64]


class Confusion(NamedTuple):
    """How many images of each class fall in each head.

    Attributes:
        count_CK: Rows are true classes, columns are heads.
        class_C: Ids of the true classes: known ones first, each part in ascending order.
        head_K: The heads that occur: first those matched to the classes, in the order of the rows, then the others, most used
            first.
        match: Head of every class that is matched to one: that pair holds at least one image.
    """

    count_CK: Ids
    class_C: Ids
    head_K: Ids
    match: dict[int, int]


def attribution_scores(true_N: ArrayLike, predicted_N: ArrayLike, known: Collection[int]) -> dict[str, float]:
    """Return accuracies and clustering scores of the known, the novel and all images, each within [0, 1] (ARI: [-0.5, 1]).

    A Hungarian accuracy is the largest share of right images over all one-to-one matchings of heads to classes. The same
    predictions differ by several points between these:

    - ``known_acc``: share of known images in the head of their own class; no matching.
    - ``novel_acc``: Hungarian on the novel images alone, as OW-DFA [1] prints it. It is lenient: a known head may be matched to a
      novel class.
    - ``novel_acc_strict``: the same, but a novel image in a known head is an error (as in [2]).
    - ``all_acc``: Hungarian on all images; known heads may be matched anew, too.
    - ``known_acc_v2``, ``novel_acc_v2``: the matching of ``all_acc``, its right images counted by part (v2 of [3]).
    - ``{all,known,novel}_{nmi,ari}``: normalised mutual information (arithmetic mean) and adjusted Rand index; no matching.

    Differs from [3]: of several matchings that are best on all images, the one with most known images right is taken, so that
    ``v2`` does not depend on how the classes and heads are numbered.

    [1] Sun et al., Contrastive pseudo learning for open-world deepfake attribution, 2023, arXiv:2309.11132
    [2] Rizve et al., OpenLDN: learning to discover novel classes for open-world semi-supervised learning, 2022, arXiv:2207.02261
    [3] Vaze et al., Generalized category discovery, 2022, arXiv:2201.02609

    Args:
        true_N: Class ids; any integers.
        predicted_N: Heads; those of known classes are their ids. There may be more of them than classes.
        known: Ids of the known classes.

    Returns:
        The scores by the names above; NaN where a part has no image.

    Raises:
        ValueError: If the two are not (N,) integers of one length.
    """
    true_N, predicted_N = _check_ids(true_N, predicted_N)
    known_N = np.isin(true_N, list(known))
    free_N = ~known_N & ~np.isin(predicted_N, list(known))
    right_N = _matched(true_N, predicted_N, known)
    num_novel = int((~known_N).sum())
    strict = _matched(true_N[free_N], predicted_N[free_N], known).sum() / num_novel if num_novel else float("nan")
    scores = {
        "known_acc": _mean(true_N[known_N] == predicted_N[known_N]),
        "novel_acc": _mean(_matched(true_N[~known_N], predicted_N[~known_N], known)),
        "all_acc": _mean(right_N),
        "known_acc_v2": _mean(right_N[known_N]),
        "novel_acc_v2": _mean(right_N[~known_N]),
        "novel_acc_strict": float(strict),
    }
    for part, chosen_N in (("all", np.ones_like(known_N)), ("known", known_N), ("novel", ~known_N)):
        for name, score in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
            some = chosen_N.any()
            scores[f"{part}_{name}"] = float(score(true_N[chosen_N], predicted_N[chosen_N])) if some else float("nan")
    return scores


def matched_confusion(true_N: ArrayLike, predicted_N: ArrayLike, known: Collection[int]) -> Confusion:
    """Return the confusion with its columns in the order of the matching on all images (see `attribution_scores`).

    Raises:
        ValueError: If the two are not (N,) integers of one length.
    """
    true_N, predicted_N = _check_ids(true_N, predicted_N)
    count_CK, class_C, head_K = _count(true_N, predicted_N)
    novel_C = ~np.isin(class_C, list(known))
    row, column = _match(count_CK, ~novel_C)
    by_row = dict(zip(row.tolist(), column.tolist(), strict=True))
    order_C = np.argsort(novel_C, kind="stable")
    matched = [by_row[r] for r in order_C.tolist() if r in by_row]
    others = [k for k in np.argsort(-count_CK.sum(axis=0), kind="stable").tolist() if k not in set(matched)]
    order_K = np.array([*matched, *others], dtype=np.int64)
    match = dict(zip(class_C[row].tolist(), head_K[column].tolist(), strict=True))
    return Confusion(count_CK[np.ix_(order_C, order_K)], class_C[order_C], head_K[order_K], match)


def _matched(true_N: Ids, predicted_N: Ids, known: Collection[int]) -> NDArray[np.bool_]:
    """Return for each image whether its head is matched to its class."""
    count_CK, class_C, head_K = _count(true_N, predicted_N)
    row, column = _match(count_CK, np.isin(class_C, list(known)))
    row_K = np.full(len(head_K), -1)
    row_K[column] = row
    right_N: NDArray[np.bool_] = row_K[np.searchsorted(head_K, predicted_N)] == np.searchsorted(class_C, true_N)
    return right_N


def _count(true_N: Ids, predicted_N: Ids) -> tuple[Ids, Ids, Ids]:
    """Return the confusion with rows and columns in ascending order, and their ids."""
    count_CK: Ids = contingency_matrix(true_N, predicted_N).astype(np.int64)
    return count_CK, np.unique(true_N), np.unique(predicted_N)


def _match(count_CK: Ids, known_C: NDArray[np.bool_]) -> tuple[Ids, Ids]:
    """Return rows and columns of the matching with most images right, and among equals most known ones; no pair is empty."""
    weight_CK = count_CK * (count_CK.sum() + 1) + count_CK * known_C[:, np.newaxis]
    row, column = linear_sum_assignment(weight_CK, maximize=True)
    filled = count_CK[row, column] > 0
    return row[filled], column[filled]


def _mean(right_N: NDArray[np.bool_]) -> float:
    """Return the share of True, NaN for nothing (np.mean would warn)."""
    return float(right_N.mean()) if len(right_N) else float("nan")


def _check_ids(true_N: ArrayLike, predicted_N: ArrayLike) -> tuple[Ids, Ids]:
    """Return both as (N,) int64.

    Raises:
        ValueError: If the shapes differ or are not (N,), or an id is no integer.
    """
    arrays = [np.asarray(true_N), np.asarray(predicted_N)]
    if arrays[0].ndim != 1 or arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"true_N and predicted_N must be (N,) of one length, got {arrays[0].shape} and {arrays[1].shape}"
        )
    for name, array in zip(("true_N", "predicted_N"), arrays, strict=True):
        if array.size and array.dtype.kind not in "iu":
            raise ValueError(f"{name} must hold integer ids, got {array.dtype}")
    return arrays[0].astype(np.int64), arrays[1].astype(np.int64)
