from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from continual_df.evaluation.metrics import (
    accuracy,
    auc,
    average_precision,
    best_threshold,
    equal_error_rate,
    fake_accuracy,
    real_accuracy,
    top1,
    video_mean,
)


def sample(seed: int = 0, num: int = 60) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    label = generator.integers(2, size=num)
    # rounding makes ties within and between the classes
    return label, np.round(generator.normal(size=num) + label, 1)


def test_auc_is_the_share_of_ordered_pairs_with_ties_half() -> None:
    label, score = sample()
    pairs = [(f > r) + 0.5 * (f == r) for f in score[label == 1] for r in score[label == 0]]
    assert auc(label, score) == pytest.approx(np.mean(pairs))


def test_average_precision_equals_sum_over_thresholds() -> None:
    label, score = sample(1)
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        called = score >= threshold
        recall = (called & (label == 1)).sum() / (label == 1).sum()
        total += (recall - recall_before) * (label[called] == 1).mean()
        recall_before = recall
    assert average_precision(label, score) == pytest.approx(total)


def test_equal_error_rate_of_hand_example() -> None:
    # reals .1 .4 .6, fakes .3 .7 .9: between thresholds .6 (FPR 1/3, FNR 1/3) both errors are one third
    assert equal_error_rate([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.6, 0.3, 0.7, 0.9]) == pytest.approx(1 / 3)
    # one tie block of both classes: the ROC curve is the diagonal, which meets FPR = FNR at one half
    assert equal_error_rate([0, 0, 1], [0.5, 0.5, 0.5]) == pytest.approx(0.5)
    assert equal_error_rate([0, 1], [0.2, 0.8]) == 0.0
    assert equal_error_rate([0, 1], [0.8, 0.2]) == 1.0


def test_interpolated_equal_error_rate_lies_on_the_roc_curve_where_both_errors_meet() -> None:
    for seed in range(20):
        label, score = sample(seed)
        rate = equal_error_rate(label, score)
        fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
        # both coordinates by arc position, so that vertical steps need no special case
        position = np.arange(len(fpr), dtype=float)
        fine = np.linspace(0, len(fpr) - 1, 200_001)
        gap = np.interp(fine, position, fpr) - (1 - np.interp(fine, position, tpr))
        assert rate == pytest.approx(np.interp(fine, position, fpr)[np.argmin(np.abs(gap))], abs=1e-3)


def test_deepfakebench_equal_error_rate_is_fpr_at_the_nearest_point() -> None:
    for seed in range(20):
        label, score = sample(seed)
        fpr, tpr, _ = roc_curve(label, score, pos_label=1)
        fnr = 1 - tpr
        expected = fpr[np.nanargmin(np.absolute(fnr - fpr))]
        assert equal_error_rate(label, score, "deepfakebench") == pytest.approx(expected)
    with pytest.raises(ValueError, match="definition must be 'interpolated' or 'deepfakebench', got 'other'"):
        equal_error_rate([0, 1], [0, 1], "other")  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", [auc, average_precision, equal_error_rate])
@pytest.mark.filterwarnings("error")
def test_ranking_of_one_class_is_nan(metric: Callable[[ArrayLike, ArrayLike], float]) -> None:
    for label in ([0, 0], [1, 1], []):
        assert np.isnan(metric(label, np.linspace(0, 1, len(label))))


def test_accuracies_by_class_do_not_depend_on_the_order_of_rows() -> None:
    label, score = [1, 0, 1, 0, 0], [0.9, 0.6, 0.2, 0.1, 0.3]
    assert accuracy(label, score) == pytest.approx(3 / 5)
    assert real_accuracy(label, score) == pytest.approx(2 / 3)
    assert fake_accuracy(label, score) == pytest.approx(1 / 2)
    assert accuracy(label, score, 0.9) == pytest.approx(4 / 5)  # a score equal to the threshold is fake
    assert np.isnan(real_accuracy([1], [0.3]))
    assert np.isnan(fake_accuracy([0], [0.3]))


def test_best_threshold_reaches_the_best_balanced_accuracy_of_all() -> None:
    for seed in range(10):
        label, score = sample(seed)

        def balanced(threshold: float, label: ArrayLike = label, score: ArrayLike = score) -> float:
            return (real_accuracy(label, score, threshold) + fake_accuracy(label, score, threshold)) / 2

        best = max(balanced(threshold) for threshold in [*score, score.max() + 1])
        assert balanced(best_threshold(label, score)) == pytest.approx(best)


def test_best_threshold_ignores_class_balance_and_breaks_ties_towards_one_half() -> None:
    # 98 reals at .1, one at .9; one fake at .8: accuracy would call everything real, balanced accuracy must not
    label = np.r_[np.zeros(99, dtype=int), 1]
    score = np.r_[np.full(98, 0.1), 0.9, 0.8]
    assert best_threshold(label, score) == pytest.approx(0.45)
    # every gap of these separates equally badly: .15, .35 (error of one each side) -> the one nearest to one half
    assert best_threshold([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.9]) == pytest.approx(0.6)
    assert best_threshold([0, 1], [0.3, 0.3]) == 0.5
    assert np.isnan(best_threshold([1, 1], [0.3, 0.4]))


def test_video_mean_averages_frames_of_one_clip_only() -> None:
    frame = pd.DataFrame(
        {
            "label": [0, 0, 1, 1, 1, 1, 1],
            "method": ["real", "real", "a", "a", "b", "b", "b"],
            "source": ["s"] * 7,
            "video": ["000", "000", "000", "000", "000", "", None],
        }
    )
    label, score = video_mean(frame, [0.0, 0.2, 0.6, 0.8, 0.1, 0.3, 0.5])
    assert label.tolist() == [0, 1, 1, 1, 1]
    assert score.tolist() == pytest.approx([0.1, 0.7, 0.1, 0.3, 0.5])


def test_video_mean_without_the_column_keeps_every_image() -> None:
    frame = pd.DataFrame({"label": [0, 1, 1]})
    label, score = video_mean(frame, [0.1, 0.2, 0.3])
    assert label.tolist() == [0, 1, 1]
    assert score.tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([0, 1], [0.5], r"one length, got \(2,\) and \(1,\)"),
        ([0, 2], [0.5, 0.5], r"label must be 0 \(real\) or 1 \(fake\), got \[2\]"),
        ([0, 1], [0.5, float("nan")], "score must be finite, got 1 NaN or infinite values"),
    ],
)
def test_wrong_input_is_named(label: ArrayLike, score: ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auc(label, score)


def test_top1_lets_only_the_named_classes_compete() -> None:
    logit = [[9.0, 1.0, 2.0, 0.0], [9.0, 3.0, 2.0, 0.0], [0.0, 1.0, 1.0, 5.0]]
    assert top1([2, 1, 2], logit, [1, 2]) == pytest.approx(2 / 3)  # of equal logits the first: class 1
    assert top1([2, 1, 2], logit, [2, 1, 0]) == 0
    assert np.isnan(top1([], np.empty((0, 4)), [1, 2]))


def test_top1_equals_a_naive_count_whatever_the_order_of_classes() -> None:
    generator = np.random.default_rng(0)
    logit, own = generator.normal(size=(200, 6)), [1, 3, 4]
    true = generator.choice(own, size=200)
    right = [max(own, key=lambda c: row[c]) == label for row, label in zip(logit, true, strict=True)]
    assert top1(true, logit, own) == top1(true, logit, own[::-1]) == np.mean(right)


def test_top1_refuses_classes_that_cannot_win() -> None:
    with pytest.raises(ValueError, match=r"class_id must be among \[1, 2\], got \[0\]"):
        top1([0], [[1.0, 2.0, 3.0]], [1, 2])
    with pytest.raises(ValueError, match=r"0 to 1, got \[1, 2\]"):
        top1([1], [[1.0, 2.0]], [1, 2])
