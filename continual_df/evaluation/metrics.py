"""Detection metrics from labels (0 real, 1 fake) and scores (higher is more fake); numpy in, float out.

What a test set cannot answer, such as the AUC of one class only, is NaN.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]
Codes = NDArray[np.int64]


def auc(label: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve, P(score of a fake > score of a real) + P(equal) / 2."""
    label_N, score_N = check_pair(label, score)
    return float(roc_auc_score(label_N, score_N)) if has_both(label_N) else float("nan")


def average_precision(label: ArrayLike, score: ArrayLike) -> float:
    """Return the average precision of the fakes, sum_n (R_n - R_{n-1}) P_n over thresholds, without interpolation."""
    label_N, score_N = check_pair(label, score)
    return float(average_precision_score(label_N, score_N)) if has_both(label_N) else float("nan")


def equal_error_rate(
    label: ArrayLike, score: ArrayLike, definition: Literal["interpolated", "deepfakebench"] = "interpolated"
) -> float:
    """Return the error rate at which as many reals are called fake as fakes are called real.

    Args:
        label: (N,) 0 or 1.
        score: (N,) higher is more fake.
        definition: ``interpolated``: where the ROC curve, straight between its points, meets FPR = FNR.
            ``deepfakebench``: FPR at the point of the ROC curve with the least abs(FNR - FPR), as DeepfakeBench prints
            it; it depends on which points scikit-learn keeps.

    Raises:
        ValueError: If ``definition`` is neither.
    """
    if definition not in ("interpolated", "deepfakebench"):
        raise ValueError(f"definition must be 'interpolated' or 'deepfakebench', got {definition!r}")
    label_N, score_N = check_pair(label, score)
    if not has_both(label_N):
        return float("nan")
    fpr, tpr, _ = roc_curve(label_N, score_N, drop_intermediate=definition == "deepfakebench")
    gap = fpr - (1 - tpr)  # rises from -1 to 1
    if definition == "deepfakebench":
        return float(fpr[np.argmin(np.abs(gap))])
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def accuracy(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Return the share of images on the right side of ``threshold``; a score equal to it counts as fake."""
    label_N, score_N = check_pair(label, score)
    return float(np.mean((score_N >= threshold) == (label_N == 1))) if len(label_N) else float("nan")


def real_accuracy(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Return R.Acc, the share of reals with a score below ``threshold``; NaN without reals."""
    label_N, score_N = check_pair(label, score)
    return accuracy(label_N[label_N == 0], score_N[label_N == 0], threshold)


def fake_accuracy(label: ArrayLike, score: ArrayLike, threshold: float = 0.5) -> float:
    """Return F.Acc, the share of fakes with a score of at least ``threshold``; NaN without fakes."""
    label_N, score_N = check_pair(label, score)
    return accuracy(label_N[label_N == 1], score_N[label_N == 1], threshold)


def top1(class_id: ArrayLike, logit_NC: ArrayLike, among: ArrayLike) -> float:
    """Return the share of images whose largest logit, of the classes ``among`` alone, is that of their class; NaN for none.

    Of equal logits the first class counts.

    Args:
        class_id: (N,) true class, each one of ``among``.
        logit_NC: Logits by class id.
        among: Class ids that compete: in a task-aware reading those of the image's own task, whose head is known.

    Raises:
        ValueError: If a class is not among those that compete, or has no logit.
    """
    class_N, own_K = np.asarray(class_id, dtype=np.int64), np.unique(np.asarray(among, dtype=np.int64))
    logit = np.asarray(logit_NC, dtype=np.float64)
    if not np.isin(class_N, own_K).all():
        raise ValueError(
            f"class_id must be among {own_K.tolist()}, got {sorted(set(class_N.tolist()) - set(own_K.tolist()))}"
        )
    if len(own_K) and (own_K[0] < 0 or own_K[-1] >= logit.shape[1]):
        raise ValueError(f"among must be classes with a logit, 0 to {logit.shape[1] - 1}, got {own_K.tolist()}")
    if not len(class_N):
        return float("nan")
    return float(np.mean(own_K[logit[:, own_K].argmax(axis=1)] == class_N))


def best_threshold(label: ArrayLike, score: ArrayLike) -> float:
    """Return the threshold with the best balanced accuracy, (R.Acc + F.Acc) / 2; NaN for one class.

    Candidates lie half-way between neighbouring distinct scores. Among equally good ones the one nearest to 0.5 is
    taken, and of two equally near the lower, so that a perfect separation does not hug one of the classes. If all
    scores are equal nothing can be chosen and 0.5 is returned.

    Args:
        label: (N,) 0 or 1, of validation images.
        score: (N,) P(fake).
    """
    label_N, score_N = check_pair(label, score)
    if not has_both(label_N):
        return float("nan")
    value, index = np.unique(score_N, return_inverse=True)
    if len(value) < 2:
        return 0.5
    fake = np.bincount(index, label_N == 1, len(value))
    real = np.bincount(index, label_N == 0, len(value))
    balanced = (np.cumsum(real)[:-1] / real.sum() + 1 - np.cumsum(fake)[:-1] / fake.sum()) / 2
    middle = (value[:-1] + value[1:]) / 2
    # equal counts reach the same value by different roundings
    best = middle[balanced >= balanced.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def video_mean(frame: pd.DataFrame, score: ArrayLike) -> tuple[Labels, Scores]:
    """Return label and mean score of each video.

    Args:
        frame: N rows of a frame table. A video is what shares ``label``, ``method``, ``source`` and ``video``, so that
            a clip name that occurs under two methods stays two videos; a row without a video is a video of its own.
        score: (N,) P(fake).

    Returns:
        (V,) labels and (V,) means, in order of first appearance.
    """
    label_N, score_N = check_pair(frame["label"].to_numpy(), score)
    return mean_by(video_codes(frame), label_N, score_N)


def video_codes(frame: pd.DataFrame) -> Codes:
    """Return for each row the number of its video, as `video_mean` tells them apart."""
    if "video" not in frame.columns:
        return np.arange(len(frame))
    keys = [column for column in ("label", "method", "source", "video") if column in frame.columns]
    code: Codes = frame.groupby(keys, sort=False, dropna=False).ngroup().to_numpy().astype(np.int64)
    alone = (frame["video"].isna() | (frame["video"] == "")).to_numpy()
    code[alone] = len(frame) + np.flatnonzero(alone)
    return code


def mean_by(code: Codes, label: Labels, score: Scores) -> tuple[Labels, Scores]:
    """Return label and mean score of each distinct ``code``, in order of first appearance."""
    video, first = pd.factorize(code)
    count = np.bincount(video, minlength=len(first))
    label_V = np.zeros(len(first), dtype=np.int64)
    label_V[video] = label
    return label_V, np.bincount(video, score, len(first)) / np.maximum(count, 1)


def has_both(label: Labels) -> bool:
    """Return whether reals and fakes are both there."""
    return bool((label == 0).any() and (label == 1).any())


def check_pair(label: ArrayLike, score: ArrayLike) -> tuple[Labels, Scores]:
    """Return labels and scores as (N,) arrays.

    Raises:
        ValueError: If the lengths differ, a label is not 0 or 1, or a score is NaN or infinite.
    """
    label_N = np.asarray(label, dtype=np.int64)
    score_N = np.asarray(score, dtype=np.float64)
    if label_N.ndim != 1 or label_N.shape != score_N.shape:
        raise ValueError(f"label and score must be (N,) of one length, got {label_N.shape} and {score_N.shape}")
    if not np.isin(label_N, (0, 1)).all():
        raise ValueError(f"label must be 0 (real) or 1 (fake), got {sorted(set(label_N.tolist()) - {0, 1})}")
    if not np.isfinite(score_N).all():
        raise ValueError(f"score must be finite, got {int((~np.isfinite(score_N)).sum())} NaN or infinite values")
    return label_N, score_N
