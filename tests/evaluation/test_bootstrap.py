from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from continual_df.evaluation import bootstrap
from continual_df.evaluation.bootstrap import (
    LabelledSet,
    Part,
    bootstrap_interval,
    bootstrap_mean,
    paired_bootstrap,
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
    scores = {"a": [[better]], "b": [[score]]}
    difference = paired_bootstrap([LabelledSet(label, group)], scores, "b", num=400)["a"]
    assert difference.value == pytest.approx(auc(label, better) - auc(label, score))
    assert difference.low > 0
    single = bootstrap_interval(label, score, group, num=400)
    assert difference.high - difference.low < 0.5 * (single.high - single.low)


def three_methods(num_groups: int = 12) -> tuple[list[LabelledSet], dict[str, list[list[NDArray[np.float64]]]]]:
    """Two sets that share groups; methods of two, one and three seeds."""
    generator = np.random.default_rng(5)
    labels = [np.arange(num) % 2 for num in (40, 30)]
    sets = [
        LabelledSet(label, [f"p{first + g}" for g in generator.integers(num_groups - 4, size=len(label))])
        for label, first in zip(labels, (0, 4), strict=True)
    ]
    scores = {
        name: [[gain * label + generator.normal(size=len(label)) for label in labels] for _ in range(seeds)]
        for name, gain, seeds in (("good", 2.0, 2), ("base", 1.0, 1), ("weak", 0.2, 3))
    }
    return sets, scores


def test_paired_bootstrap_equals_the_double_loop() -> None:
    sets, scores = three_methods()
    found = paired_bootstrap(sets, scores, "base", num=60, seed=2)
    names = list(dict.fromkeys(np.concatenate([np.asarray(part.group) for part in sets]).tolist()))
    drawn = np.random.default_rng(2).integers(len(names), size=(60, len(names)))
    draws: dict[str, list[float]] = {"good": [], "weak": []}
    for draw in drawn:
        averages = {}
        for name, seeds in scores.items():
            areas = []
            for each in seeds:
                for part, score in zip(sets, each, strict=True):
                    label, group = np.asarray(part.label), np.asarray(part.group)
                    rows = np.concatenate([np.flatnonzero(group == names[g]) for g in draw])
                    fake, real = score[rows][label[rows] == 1], score[rows][label[rows] == 0]
                    pairs_won = [(f > r) + 0.5 * (f == r) for f in fake for r in real]
                    areas.append(np.mean(pairs_won))
            averages[name] = float(np.mean(areas))
        for name, values in draws.items():
            values.append(averages[name] - averages["base"])
    assert found.keys() == draws.keys()
    for name, differences in draws.items():
        expected = np.quantile(differences, [0.025, 0.975])
        np.testing.assert_allclose([found[name].low, found[name].high], expected, atol=1e-12)
        tail = min(np.sum(np.array(differences) <= 0), np.sum(np.array(differences) >= 0))
        assert found[name].p == pytest.approx(min(1, 2 * (1 + tail) / 61))
        assert found[name].num_groups == len(names)
    everything = {
        name: np.mean([auc(part.label, score) for each in seeds for part, score in zip(sets, each, strict=True)])
        for name, seeds in scores.items()
    }
    assert found["good"].value == pytest.approx(everything["good"] - everything["base"])
    assert found["weak"].value == pytest.approx(everything["weak"] - everything["base"])


def test_equal_predictions_differ_by_nothing() -> None:
    sets, scores = three_methods()
    scores = {"one": scores["weak"], "same": scores["weak"][::-1]}
    assert paired_bootstrap(sets, scores, "one", num=50) == {"same": (0, 0, 0, 1, 12)}


def test_real_difference_has_a_small_p_and_the_seeds_of_both_signs_agree() -> None:
    sets, scores = three_methods()
    down = paired_bootstrap(sets, scores, "good", num=400)["weak"]
    up = paired_bootstrap(sets, scores, "weak", num=400)["good"]
    assert down.high < 0 < up.low
    assert down.p == up.p == pytest.approx(2 / 401)
    assert (up.value, up.low, up.high) == pytest.approx((-down.value, -down.high, -down.low))


def test_p_of_two_equally_good_methods_is_small_as_rarely_as_it_should_be() -> None:
    small, trials = 0, 200
    for seed in range(trials):
        generator = np.random.default_rng(seed)
        label, group = np.tile([0, 1], 60), np.repeat(np.arange(60), 2)
        content = np.repeat(generator.normal(size=60), 2)
        scores = {name: [[label + content + generator.normal(size=120)] for _ in range(2)] for name in ("one", "other")}
        p = paired_bootstrap([LabelledSet(label, group)], scores, "one", num=100, seed=seed)["other"].p
        small += p < 0.05
    # 5 % of 200, give or take three standard deviations (3.1)
    assert 1 <= small <= 19


def test_difference_leaves_out_sets_of_one_class_and_needs_two_groups() -> None:
    sets, scores = three_methods()
    expected = paired_bootstrap(sets, scores, "base", num=50)
    one_class = LabelledSet([1, 1], ["p0", "p1"])
    longer = {name: [[*each, np.array([0.0, 1.0])] for each in seeds] for name, seeds in scores.items()}
    assert paired_bootstrap([*sets, one_class], longer, "base", num=50) == expected
    alone = paired_bootstrap([one_class], {"a": [[[0.0, 1.0]]], "b": [[[0.0, 1.0]]]}, "a")["b"]
    assert np.isnan(alone[:4]).all()
    single = paired_bootstrap([LabelledSet([0, 1], ["x", "x"])], {"a": [[[0, 1]]], "b": [[[1, 0]]]}, "a")["b"]
    assert single.value == -1
    assert np.isnan(single[1:4]).all()


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
    sets, scores = three_methods()
    with pytest.raises(ValueError, match=r"baseline must be one of \['base', 'good', 'weak'\], got 'best'"):
        paired_bootstrap(sets, scores, "best")
    with pytest.raises(ValueError, match="scores of 'weak' must have at least one seed and 2 sets in each"):
        paired_bootstrap(sets, {**scores, "weak": [scores["weak"][0][:1]]}, "base")
