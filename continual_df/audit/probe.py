"""A linear probe: how far two kinds of images can be told apart by a few numbers an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from continual_df.evaluation.bootstrap import Interval, bootstrap_interval

FEW = 30
"""Images of a class in train or test below which a result says that there are few."""

FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        test: AUC on the test rows of the probe that was fitted to the train rows, with its bootstrap interval over
            groups; None where a class has no rows in train or test.
        folds: AUC over all rows, each scored by a probe that was fitted to other groups; None where a class has fewer
            than two groups.
        counts: Images (class 0, class 1) by split.
        features: Single features with their AUC (on the test rows, or on all where there are no such), the strongest
            first. Which direction counts is decided on the train rows, so an AUC may be below 1/2.
        notes: What the numbers leave out.
    """

    test: Interval | None
    folds: float | None
    counts: dict[str, tuple[int, int]]
    features: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]

    @property
    def auc(self) -> float | None:
        """The AUC on test, else over all rows."""
        return self.test.value if self.test is not None else self.folds


def probe(
    features: pd.DataFrame, label: NDArray[np.int64], split: NDArray[np.object_], group: NDArray[np.object_], seed: int
) -> Probe:
    """Return how far the features tell label 1 from label 0.

    Args:
        features: (N, F) numbers; columns without variation say nothing and are passed over.
        label: (N,) 0 or 1.
        split: (N,) train, val or test; anything else is in the folds only.
        group: (N,) what must not straddle two folds.
        seed: Seed of the folds and of the interval.
    """
    value_NF, names = _varying(features)
    counts = {
        str(s): (int(((split == s) & (label == 0)).sum()), int(((split == s) & (label == 1)).sum())) for s in _SPLITS
    }
    train, test = split == "train", split == "test"
    notes = [] if names else ["every statistic is constant"]
    result = None
    if min(*counts["train"], *counts["test"]) > 0:
        score = _fit(value_NF[train], label[train], value_NF[test])
        result = bootstrap_interval(label[test], score, group[test], seed=seed)
        notes += [
            f"few images in {name}: {counts[name][0]} and {counts[name][1]}"
            for name in ("train", "test")
            if min(counts[name]) < FEW
        ]
    else:
        empty = [name for name in ("train", "test") if min(counts[name]) == 0]
        notes.append(f"one side has no images in {' and '.join(empty)}: folds by group only")
        if min((label == 0).sum(), (label == 1).sum()) < FEW:
            notes.append(f"few images: {(label == 0).sum()} and {(label == 1).sum()}")
    folds = None
    score_N = out_of_fold(value_NF, label, group, seed)
    if score_N is None:
        notes.append("too few groups for folds")
    else:
        folds = float(roc_auc_score(label, score_N))
    if result is not None:
        features_ = _single(value_NF, names, label, train, test)
    elif folds is not None:
        everything = np.ones(len(label), dtype=bool)
        features_ = _single(value_NF, names, label, everything, everything)
    else:
        features_ = ()
    return Probe(result, folds, counts, features_, tuple(notes))


def out_of_fold(
    value_NF: NDArray[np.floating],
    label: NDArray[np.int64],
    group: NDArray[np.object_],
    seed: int,
    strength: float = 1.0,
) -> NDArray[np.float64] | None:
    """Return (N,) logits of label 1 from a linear probe that was fitted to the other folds; None if they cannot be made.

    Folds keep groups whole and spread both labels.

    Args:
        value_NF: Features.
        label: (N,) 0 or 1.
        group: (N,) groups.
        seed: Seed of the folds.
        strength: Inverse of the regularisation, > 0.
    """
    num = min([FOLDS, *(len(set(group[label == side].tolist())) for side in (0, 1))])
    if num < 2:
        return None
    fold_N = _folds(label, group, num, seed)
    score_N = np.full(len(label), np.nan)
    for fold in range(num):
        held = fold_N == fold
        score_N[held] = _fit(value_NF[~held], label[~held], value_NF[held], strength)
    return score_N


def _folds(label: NDArray[np.int64], group: NDArray[np.object_], num: int, seed: int) -> NDArray[np.int64]:
    """Return (N,) folds in which groups are whole; every fold holds both labels if each has ``num`` groups or more."""
    code_N, names = pd.factorize(group)
    share_G = np.bincount(code_N, weights=label) / np.bincount(code_N)
    # groups with label 1 stand side by side in this order, and so do those with label 0: dealt out, they reach all folds
    kind_G = np.sign(share_G) + (share_G == 1)
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), kind_G))
    fold_G = np.empty(len(names), dtype=np.int64)
    fold_G[order] = np.arange(len(names)) % num
    folds: NDArray[np.int64] = fold_G[code_N]
    return folds


_SPLITS = ("train", "val", "test")


def _fit(
    train_NF: NDArray[np.floating], label: NDArray[np.int64], test_MF: NDArray[np.floating], strength: float = 1.0
) -> NDArray[np.float64]:
    """Return (M,) logits of label 1."""
    if not train_NF.shape[1]:
        return np.zeros(len(test_MF))
    model: ClassifierMixin = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    ).fit(train_NF, label)
    score: NDArray[np.float64] = model.decision_function(test_MF)
    return score


def _varying(features: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """Return the columns that vary as (N, F), and their names."""
    names = [str(name) for name in features.columns if features[name].nunique() > 1]
    return features[names].to_numpy(dtype=np.float64), names


def _single(
    value_NF: NDArray[np.float64],
    names: list[str],
    label: NDArray[np.int64],
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
) -> tuple[tuple[str, float], ...]:
    """Return each feature's own AUC on ``test``, in the direction that ``train`` shows, the strongest first."""
    found = []
    for column, name in enumerate(names):
        value_N = value_NF[:, column]
        sign = 1.0 if roc_auc_score(label[train], value_N[train]) >= 0.5 else -1.0
        found.append((name, float(roc_auc_score(label[test], sign * value_N[test]))))
    return tuple(sorted(found, key=lambda item: -item[1]))
