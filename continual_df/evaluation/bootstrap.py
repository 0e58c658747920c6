"""Percentile bootstrap over groups: a real and the fakes made from it are drawn, or left out, together.

Images of one group are not independent, so resampling single images makes intervals too narrow, and breaks the pairs
that make a control comparable with its twin. A draw gives each group a weight (how often it was drawn), each image
its group's weight, and the statistic is computed for many draws at once.

[1] Efron and Tibshirani, An introduction to the bootstrap, 1993, chapters 8, 13 and 15
[2] Davison and Hinkley, Bootstrap methods and their application, 1997, chapter 4 (the added one in a p-value)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from continual_df.evaluation.metrics import Labels, Scores, check_pair

Weights = NDArray[np.float64]
Statistic = Callable[[Labels, Scores, Weights], NDArray[np.float64]]
"""(label_N, score_N, weight_BN) -> (B,); NaN where a draw cannot answer."""

CELLS_AT_ONCE = 4_000_000
"""Weights held in memory at a time (32 MB)."""


class Part(NamedTuple):
    """One test set: labels, scores and the group of every image, all (N,)."""

    label: ArrayLike
    score: ArrayLike
    group: ArrayLike


class Interval(NamedTuple):
    """A statistic with its percentile interval; ``low`` and ``high`` are NaN for fewer than two groups."""

    value: float
    low: float
    high: float
    num_groups: int


class LabelledSet(NamedTuple):
    """One test set that several detectors are measured on: labels and groups of its images, both (N,)."""

    label: ArrayLike
    group: ArrayLike


class Difference(NamedTuple):
    """A paired difference with its percentile interval and two-sided p-value.

    ``low``, ``high`` and ``p`` are NaN where fewer than two groups, or no draw, can answer.
    """

    value: float
    low: float
    high: float
    p: float
    num_groups: int


def weighted_auc(label: Labels, score: Scores, weight: Weights) -> NDArray[np.float64]:
    """Return (B,) areas under the ROC curve with image weights ``weight`` (B, N); ties count one half.

    Equals the AUC of a set in which each image is repeated as often as its weight says. NaN where all reals or all
    fakes have weight 0.
    """
    order = np.argsort(score, kind="stable")
    fake, real = order[label[order] == 1], order[label[order] != 1]
    # one image's weights side by side: rows of memory are copied whole, which is several times faster
    weight_NB = np.ascontiguousarray(weight.T)
    fake_FB, real_RB = weight_NB[fake], weight_NB[real]
    beaten_RB = np.zeros((len(real) + 1, len(weight)))
    np.cumsum(real_RB, axis=0, out=beaten_RB[1:])
    below = np.searchsorted(score[real], score[fake], side="left")
    not_above = np.searchsorted(score[real], score[fake], side="right")
    area = np.einsum("fb,fb->b", fake_FB, beaten_RB[below])
    if (below != not_above).any():
        area = (area + np.einsum("fb,fb->b", fake_FB, beaten_RB[not_above])) / 2
    pairs = fake_FB.sum(axis=0) * beaten_RB[-1]
    value: NDArray[np.float64] = np.divide(area, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return value


def bootstrap_interval(
    label: ArrayLike,
    score: ArrayLike,
    group: ArrayLike,
    statistic: Statistic = weighted_auc,
    *,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return ``statistic`` on one test set with its percentile interval.

    Args:
        label: (N,) 0 or 1.
        score: (N,) finite.
        group: (N,) names or numbers; what is drawn together.
        statistic: Weighted statistic, such as `weighted_auc`.
        num: Number of draws, >= 1.
        seed: Seed of the draws; the same seed gives the same interval.
        level: Coverage, in (0, 1).

    Raises:
        ValueError: If an argument is out of range or lengths differ.
    """
    return bootstrap_mean([Part(label, score, group)], statistic, num=num, seed=seed, level=level)


def bootstrap_mean(
    parts: Sequence[Part],
    statistic: Statistic = weighted_auc,
    *,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return the mean of ``statistic`` over test sets with its interval; a group in several sets is drawn once.

    Sets whose statistic is NaN on all images (one class) are left out; draws in which it is NaN for one of the others
    are not used.

    Raises:
        ValueError: If an argument is out of range or lengths differ.
    """
    checked = [(*check_pair(part.label, part.score), _check_group(part.group, part.label)) for part in parts]
    full = [_full(statistic, label, score) for label, score, _ in checked]
    kept = [part for part, value in zip(checked, full, strict=True) if not np.isnan(value)]
    if not kept:
        return Interval(float("nan"), float("nan"), float("nan"), 0)

    def mean(weight_GB: Weights, codes: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        values = [
            statistic(label, score, weight_GB[code].T) for (label, score, _), code in zip(kept, codes, strict=True)
        ]
        average: NDArray[np.float64] = np.stack(values).mean(axis=0)
        return average

    return _percentile([group for _, _, group in kept], mean, num, seed, level)


def paired_bootstrap(
    sets: Sequence[LabelledSet],
    scores: Mapping[str, Sequence[Sequence[ArrayLike]]],
    baseline: str,
    statistic: Statistic = weighted_auc,
    *,
    num: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Return for each method how far its mean of ``statistic`` over test sets lies above that of ``baseline``.

    A draw of groups is one for all methods, seeds and sets, so what makes it easy for all cancels; the seeds of a
    method are averaged within the draw. The intervals are about the trained detectors on other test groups: what
    other seeds would bring is not in them. With b draws of a difference d, p = min(1, 2 (1 + min(#{d <= 0}, #{d >= 0})) /
    (1 + b)) [1, 2].

    Sets whose statistic is NaN on all images (one class) are left out; draws in which it is NaN for one of the others
    are not used.

    Args:
        sets: The test sets, the same for all.
        scores: For each method, for each of its seeds, (N,) finite scores of every set.
        baseline: Key of ``scores``.
        statistic: Weighted statistic, such as `weighted_auc`.
        num: Number of draws, >= 1.
        seed: Seed of the draws.
        level: Coverage, in (0, 1).

    Returns:
        A difference by method, without the baseline.

    Raises:
        ValueError: If an argument is out of range, a method has no seed, or lengths differ.
    """
    if baseline not in scores:
        raise ValueError(f"baseline must be one of {sorted(scores)}, got {baseline!r}")
    _check_range(num, level)
    for name, seeds in scores.items():
        if not seeds or any(len(each) != len(sets) for each in seeds):
            raise ValueError(f"scores of {name!r} must have at least one seed and {len(sets)} sets in each")
    groups = [_check_group(group, label) for label, group in sets]
    checked = {
        name: [[check_pair(part.label, score) for part, score in zip(sets, each, strict=True)] for each in seeds]
        for name, seeds in scores.items()
    }
    kept = [
        at for at, (label, score) in enumerate(checked[baseline][0]) if not np.isnan(_full(statistic, label, score))
    ]
    others = [name for name in scores if name != baseline]
    if not kept:
        return dict.fromkeys(others, Difference(float("nan"), float("nan"), float("nan"), float("nan"), 0))
    codes, num_groups = _encode([groups[at] for at in kept])

    def differences(weight_GB: Weights) -> NDArray[np.float64]:
        weight_SBN = [weight_GB[code].T for code in codes]
        means = {
            name: np.mean(
                [
                    statistic(*each[at], weight_BN)
                    for each in seeds
                    for at, weight_BN in zip(kept, weight_SBN, strict=True)
                ],
                axis=0,
            )
            for name, seeds in checked.items()
        }
        found = np.array([means[name] - means[baseline] for name in others])
        found[np.abs(found) < 1e-12] = 0  # equal scores whose seeds were added up in another order
        return found

    value_M = differences(np.ones((num_groups, 1)))[:, 0] if others else np.empty(0)
    draws = [differences(weight_GB) for weight_GB in _draws(codes, num_groups, num, seed)] if num_groups > 1 else []
    return {
        name: _difference(
            float(value), np.concatenate([draw[at] for draw in draws] or [np.empty(0)]), level, num_groups
        )
        for at, (name, value) in enumerate(zip(others, value_M, strict=True))
    }


def _difference(value: float, drawn: NDArray[np.float64], level: float, num_groups: int) -> Difference:
    """Return ``value`` with the percentiles of its draws and the p-value of `paired_bootstrap`."""
    usable = drawn[~np.isnan(drawn)]
    if not len(usable):
        return Difference(value, float("nan"), float("nan"), float("nan"), num_groups)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    fewest = min((usable <= 0).sum(), (usable >= 0).sum())
    return Difference(value, float(low), float(high), min(1.0, 2 * (1 + int(fewest)) / (1 + len(usable))), num_groups)


def _check_group(group: ArrayLike, label: ArrayLike) -> NDArray[np.generic]:
    """Return ``group`` as an array of names, or refuse another length than that of ``label``."""
    group_N = np.asarray(group, dtype=object)
    if group_N.shape != np.shape(label):
        raise ValueError(f"group must have one entry per image, {np.shape(label)}, got {group_N.shape}")
    return group_N


def _full(statistic: Statistic, label: Labels, score: Scores) -> float:
    """Return the statistic with all weights 1, NaN for an empty set."""
    return float(statistic(label, score, np.ones((1, len(label))))[0]) if len(label) else float("nan")


def _percentile(
    groups: list[NDArray[np.generic]],
    statistic: Callable[[Weights, list[NDArray[np.int64]]], NDArray[np.float64]],
    num: int,
    seed: int,
    level: float,
) -> Interval:
    """Draw groups ``num`` times and return the percentiles of the statistic."""
    _check_range(num, level)
    codes, num_groups = _encode(groups)
    value = float(statistic(np.ones((num_groups, 1)), codes)[0]) if num_groups else float("nan")
    if num_groups < 2 or np.isnan(value):
        return Interval(value, float("nan"), float("nan"), num_groups)
    usable = np.concatenate([statistic(weight_GB, codes) for weight_GB in _draws(codes, num_groups, num, seed)])
    usable = usable[~np.isnan(usable)]
    if not len(usable):
        return Interval(value, float("nan"), float("nan"), num_groups)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), num_groups)


def _check_range(num: int, level: float) -> None:
    if num < 1:
        raise ValueError(f"num must be >= 1, got {num}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")


def _encode(groups: list[NDArray[np.generic]]) -> tuple[list[NDArray[np.int64]], int]:
    """Return for each set the number of every image's group, one numbering for all sets, and how many groups there are."""
    code_N, names = pd.factorize(np.concatenate(groups))
    return np.split(code_N, np.cumsum([len(group) for group in groups])[:-1]), len(names)


def _draws(codes: list[NDArray[np.int64]], num_groups: int, num: int, seed: int) -> Iterator[Weights]:
    """Yield (G, B) weights of ``num`` draws of the groups, in chunks that fit in memory."""
    generator = np.random.default_rng(seed)
    chunk = max(1, CELLS_AT_ONCE // max(num_groups, *(len(code) for code in codes)))
    for start in range(0, num, chunk):
        size = min(chunk, num - start)
        drawn = generator.integers(num_groups, size=(size, num_groups)) + num_groups * np.arange(size)[:, None]
        weight_BG = np.bincount(drawn.ravel(), minlength=size * num_groups).reshape(size, num_groups)
        yield weight_BG.T.astype(np.float64, order="C")
