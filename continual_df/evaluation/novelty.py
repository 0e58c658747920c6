"""How well a novelty score (higher is more novel) tells images of novel classes from those of known ones.

What a set without known or without novel images cannot answer is NaN. Letters: N images, K heads.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from continual_df.evaluation.metrics import auc, check_pair, has_both


def auroc(novel: ArrayLike, score: ArrayLike) -> float:
    """Return P(score of a novel image > score of a known one) + P(equal) / 2.

    Args:
        novel: (N,) 1 for images of novel classes, 0 for known ones.
        score: (N,) finite.

    Raises:
        ValueError: If the lengths differ, ``novel`` is not 0 or 1, or a score is not finite.
    """
    return auc(novel, score)


def fpr_at_tpr(novel: ArrayLike, score: ArrayLike, tpr: float = 0.95) -> float:
    """Return the share of novel images that pass as known where the share ``tpr`` of the known images does (FPR95 of [1]).

    With t the least known score that at least ``tpr`` of the known scores do not exceed, it is P(novel score <= t). The known
    images are the positives, as in [1]; lower is better.

    [1] Liang et al., Enhancing the reliability of out-of-distribution image detection in neural networks, 2018, arXiv:1706.02690

    Args:
        novel: (N,) 1 for images of novel classes, 0 for known ones.
        score: (N,) finite.
        tpr: Within (0, 1].

    Raises:
        ValueError: If the lengths differ, ``novel`` is not 0 or 1, a score is not finite, or ``tpr`` is out of range.
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be within (0, 1], got {tpr}")
    novel_N, score_N = check_pair(novel, score)
    if not has_both(novel_N):
        return float("nan")
    threshold = np.quantile(score_N[novel_N == 0], tpr, method="inverted_cdf")
    return float((score_N[novel_N == 1] <= threshold).mean())


def oscr(novel: ArrayLike, score: ArrayLike, right: ArrayLike) -> float:
    """Return the area under the open-set classification rate curve [1].

    The curve runs over thresholds t: the share of known images that are attributed right and have a score <= t, against the
    share of novel images with a score <= t. Straight between its points, its area is
    ``known accuracy * P(score of a novel image > score of a right known one)``, equal scores counting half.

    [1] Dhamija et al., Reducing network agnostophobia, 2018, arXiv:1811.04110

    Args:
        novel: (N,) 1 for images of novel classes, 0 for known ones.
        score: (N,) finite.
        right: (N,) whether an image is attributed to its own class; of novel images it is not looked at.

    Raises:
        ValueError: If the lengths differ, ``novel`` is not 0 or 1, or a score is not finite.
    """
    novel_N, score_N = check_pair(novel, score)
    right_N = np.asarray(right, dtype=bool)
    if right_N.shape != novel_N.shape:
        raise ValueError(f"right must be (N,) of the length of novel, {len(novel_N)}, got shape {right_N.shape}")
    if not has_both(novel_N):
        return float("nan")
    kept_N = (novel_N == 1) | right_N
    accuracy = float(right_N[novel_N == 0].mean())
    return accuracy * auc(novel_N[kept_N], score_N[kept_N]) if accuracy > 0 else 0.0


def softmax_novelty(logit_NK: NDArray[np.floating], num_known: int) -> NDArray[np.float64]:
    """Return (N,) how little the likeliest known class is believed, in [-3.4e38, 3.4e38].

    With p the largest softmax over the first ``num_known`` of K heads, it is ``log((1 - p) / p)``: it ranks as ``-p`` does
    (maximum softmax probability, Hendrycks and Gimpel, 2017, arXiv:1610.02136), but does not saturate where p rounds to 1.

    Raises:
        ValueError: If ``num_known`` is not within [1, K].
    """
    logit_NK = logit_NK.astype(np.float64)
    if not 1 <= num_known <= logit_NK.shape[1]:
        raise ValueError(f"num_known must be within [1, {logit_NK.shape[1]}], the number of heads, got {num_known}")
    top_N1 = logit_NK[:, :num_known].argmax(axis=1)[:, np.newaxis]
    best_N = np.take_along_axis(logit_NK, top_N1, axis=1)[:, 0]
    np.put_along_axis(logit_NK, top_N1, -np.inf, axis=1)
    limit = float(np.finfo(np.float32).max)  # a head that stands alone leaves -inf
    novelty_N: NDArray[np.float64] = np.clip(logsumexp(logit_NK, axis=1) - best_N, -limit, limit)
    return novelty_N
