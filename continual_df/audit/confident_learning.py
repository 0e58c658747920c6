"""Confident learning: which given labels a classifier contradicts with more confidence than is usual for the other class.

A row counts as class j only where its probability of j reaches the mean probability of j among the rows labelled j, so
a classifier that is timid about one class is not held to be wrong about it.

[1] Northcutt, Jiang and Chuang, Confident learning, 2021, arXiv:1911.00068, equations 1 and 2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Disagreements(NamedTuple):
    """Rows whose label is contradicted.

    Attributes:
        row: (M,) rows, the least believable label first.
        margin: (M,) probability of the class that the row seems to be minus that of its label.
        thresholds: (C,) mean probability of each class among the rows labelled so; NaN for a class without rows.
    """

    row: NDArray[np.int64]
    margin: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def confident_disagreements(label: NDArray[np.int64], prob_NC: NDArray[np.float64]) -> Disagreements:
    """Return the rows off the diagonal of the confident joint, by margin.

    A row's confident class is the most probable of those classes whose threshold it reaches; rows without any, and
    those whose confident class is their label, are left out.

    Args:
        label: (N,) given labels in 0..C-1.
        prob_NC: Probabilities from a model that was not trained on the row.

    Raises:
        ValueError: If shapes do not fit or a probability is not finite.
    """
    if prob_NC.ndim != 2 or label.shape != prob_NC.shape[:1]:
        raise ValueError(f"label must be (N,) and prob_NC (N, C), got {label.shape} and {prob_NC.shape}")
    if not np.isfinite(prob_NC).all():
        raise ValueError("prob_NC must be finite")
    num_classes = prob_NC.shape[1]
    thresholds = np.array([prob_NC[label == c, c].mean() if (label == c).any() else np.nan for c in range(num_classes)])
    reached_NC = prob_NC >= thresholds  # never true for NaN
    seems = np.where(reached_NC, prob_NC, -np.inf).argmax(axis=1)
    row = np.flatnonzero(reached_NC.any(axis=1) & (seems != label))
    margin = prob_NC[row, seems[row]] - prob_NC[row, label[row]]
    order = np.argsort(-margin, kind="stable")
    return Disagreements(row[order], margin[order], thresholds)
