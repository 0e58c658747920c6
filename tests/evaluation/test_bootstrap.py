from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from continual_df.evaluation import bootstrap
from continual_df.evaluation.bootstrap import (
    Part,
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_mean,
    weighted_auc,
)
from continual_df.evaluation.metrics import auc


def pairs(num: int = 80, noise: float = 0.05) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """A real and its re-encoded twin per group: what the group looks like dominates, the twins differ by noise."""
    generator = np.random.default_rng(0)
    content = np.repeat(generator.normal(size=num), 2)
    return np.tile([0, 1], num), content + noise * generator.normal(size=2 * num), np.repeat(np.arange(num), 2)


def test_weighted_auc_equals_auc_of_repeated_images() -> None:
    generator = np.random.default_rng(1)
    label = generator.integers(2, size=30)
    score = np.round(generator.normal(size=30) + label, 1)
    weight = generator.integers(4, size=(5, 30)).astype(float)
    expected = [auc(np.repeat(label, w.astype(int)), np.repeat(score, w.astype(int))) for w in weight]
    np.testing.assert_allclose(weighted_auc(label, score, weight), expected)


def test_weighted_auc_is_nan_where_a_class_has_no_weight() -> None:
    weight = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(weighted_auc(np.array([0, 1]), np.array([0.1, 0.2]), weight), [np.nan, 1.0])


def test_pairs_stay_together() -> None:
    label, score, group = pairs()
    paired = bootstrap_interval(label, score, group, num=400)
    torn = bootstrap_interval(label, score, np.arange(len(label)), num=400)
    assert paired.value == torn.value == pytest.approx(auc(label, score))
    assert paired.low <= 0.5 <= paired.high
    # twins share their content, so drawing them together removes nearly all of the spread
    assert (paired.high - paired.low) < 0.5 * (torn.high - torn.low)
    assert (paired.num_groups, torn.num_groups) == (80, 160)


def test_interval_covers_the_truth_at_its_level() -> None:
    # scores N(0,1) and N(1,1): true AUC = Phi(1 / sqrt 2) = .7602; 95 % of intervals should hold it
    covered = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        label = np.repeat([0, 1], 60)
        score = generator.normal(size=120) + label
        interval = bootstrap_interval(label, score, np.arange(120), num=200, seed=seed)
        covered += interval.low <= 0.7602 <= interval.high
    assert 51 <= covered <= 60


def test_seed_decides_the_interval_and_chunks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    label, score, group = pairs(noise=1.0)
    one = bootstrap_interval(label, score, group, num=100, seed=3)
    assert one == bootstrap_interval(label, score, group, num=100, seed=3)
    assert one != bootstrap_interval(label, score, group, num=100, seed=4)
    monkeypatch.setattr(bootstrap, "CELLS_AT_ONCE", 500)
    assert bootstrap_interval(label, score, group, num=100, seed=3) == one


def test_groups_may_have_names() -> None:
    label, score, group = pairs(noise=1.0)
    named = [f"person {number}" for number in group]
    assert bootstrap_interval(label, score, named) == bootstrap_interval(label, score, group)


def test_mean_over_sets_draws_shared_groups_once() -> None:
    label, score, group = pairs(noise=1.0)
    single = bootstrap_interval(label, score, group, num=300)
    # the same set twice has the mean, and with shared draws the interval, of the set itself
    assert bootstrap_mean([Part(label, score, group)] * 2, num=300) == pytest.approx(single)
    apart = bootstrap_mean([Part(label, score, group), Part(label, score, group + 1000)], num=300)
    assert apart.high - apart.low < 0.85 * (single.high - single.low)


def test_mean_leaves_out_sets_of_one_class() -> None:
    label, score, group = pairs(noise=1.0)
    one_class = Part([1, 1], [0.1, 0.2], [0, 1])
    assert bootstrap_mean([Part(label, score, group), one_class], num=50) == bootstrap_interval(
        label, score, group, num=50
    )
    assert np.isnan(bootstrap_mean([one_class], num=50).value)


def test_paired_difference_is_narrower_than_two_intervals() -> None:
    label, score, group = pairs(noise=1.0)
    better = score + 0.3 * label
    difference = bootstrap_difference(label, better, score, group, num=400)
    assert difference.value == pytest.approx(auc(label, better) - auc(label, score))
    assert difference.low > 0
    single = bootstrap_interval(label, score, group, num=400)
    assert difference.high - difference.low < 0.5 * (single.high - single.low)
    same = bootstrap_difference(label, score, score, group)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_one_group_has_a_value_but_no_interval() -> None:
    interval = bootstrap_interval([0, 1], [0.1, 0.9], ["a", "a"])
    assert interval.value == 1.0
    assert np.isnan([interval.low, interval.high]).all()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="num must be >= 1, got 0"):
        bootstrap_interval([0, 1], [0.1, 0.9], [0, 1], num=0)
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 95"):
        bootstrap_interval([0, 1], [0.1, 0.9], [0, 1], level=95)
    with pytest.raises(ValueError, match=r"group must have one entry per image, \(2,\), got \(3,\)"):
        bootstrap_interval([0, 1], [0.1, 0.9], [0, 1, 2])
