from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax

from continual_df.evaluation.novelty import auroc, fpr_at_tpr, oscr, softmax_novelty


def area_by_thresholds(novel: np.ndarray, score: np.ndarray, right: np.ndarray) -> float:
    """The area below the curve of right known images against accepted novel ones, threshold by threshold."""
    x, y = [0.0], [0.0]
    for threshold in sorted(set(score)):
        passed = score <= threshold
        x.append(float(passed[novel == 1].mean()))
        y.append(float((passed & right)[novel == 0].mean()))
    return float(np.trapezoid(y, x))


@pytest.mark.parametrize("seed", range(10))
def test_oscr_is_the_area_under_its_curve(seed: int) -> None:
    generator = np.random.default_rng(seed)
    novel = np.r_[0, 1, generator.integers(0, 2, 38)]
    score, right = np.round(generator.normal(size=40) + novel, 1), generator.random(40) < 0.6
    assert oscr(novel, score, right) == pytest.approx(area_by_thresholds(novel, score, right))


def test_oscr_of_right_attributions_is_the_auroc_and_of_wrong_ones_zero() -> None:
    novel, score = [0, 0, 0, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.9]
    assert auroc(novel, score) == pytest.approx(5 / 6)
    assert oscr(novel, score, [True] * 5) == pytest.approx(5 / 6)
    assert oscr(novel, score, [False] * 5) == 0


def test_oscr_does_not_look_at_the_attribution_of_novel_images() -> None:
    novel, score = [0, 0, 1, 1], [0.1, 0.4, 0.3, 0.9]
    assert oscr(novel, score, [True, False, True, True]) == oscr(novel, score, [True, False, False, False])


def test_fpr_is_measured_where_the_share_of_known_images_passes() -> None:
    # 20 known scores 1..20: 95 % of them are the 19 up to 19; of the novel scores 5, 19, 19.5, 30 two are no higher
    novel = np.r_[np.zeros(20), np.ones(4)]
    score = np.r_[np.arange(1, 21), 5, 19, 19.5, 30]
    assert fpr_at_tpr(novel, score) == 0.5
    assert fpr_at_tpr(novel, score, tpr=1.0) == 0.75
    assert fpr_at_tpr(novel, score, tpr=0.2) == 0.0


def test_equal_scores_pass_all() -> None:
    assert fpr_at_tpr([0, 0, 1], [1, 1, 1]) == 1
    assert auroc([0, 0, 1], [1, 1, 1]) == 0.5


@pytest.mark.parametrize("novel", [[0, 0], [1, 1], []])
def test_one_side_alone_is_nan(novel: list[int]) -> None:
    score = np.arange(float(len(novel)))
    assert math.isnan(auroc(novel, score))
    assert math.isnan(fpr_at_tpr(novel, score))
    assert math.isnan(oscr(novel, score, np.ones(len(novel))))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tpr must be within \(0, 1\], got 0"):
        fpr_at_tpr([0, 1], [0, 1], tpr=0)
    with pytest.raises(ValueError, match="of the length of novel, 2"):
        oscr([0, 1], [0, 1], [True])
    with pytest.raises(ValueError, match=r"num_known must be within \[1, 3\]"):
        softmax_novelty(np.zeros((2, 3)), 4)


def test_softmax_novelty_is_the_log_odds_of_the_likeliest_known_class() -> None:
    logit = np.random.default_rng(0).normal(size=(50, 6)) * 3
    p = softmax(logit, axis=1)[:, :4].max(axis=1)
    assert softmax_novelty(logit, 4) == pytest.approx(np.log((1 - p) / p))


def test_softmax_novelty_ranks_where_the_softmax_is_one() -> None:
    logit = np.array([[400.0, 0.0], [500.0, 0.0], [600.0, 0.0]], dtype=np.float32)
    assert (softmax(logit.astype(float), axis=1).max(axis=1) == 1).all()
    assert softmax_novelty(logit, 1).tolist() == [-400, -500, -600]


def test_softmax_novelty_of_a_single_head_says_nothing_and_is_finite() -> None:
    score = softmax_novelty(np.array([[3.0], [-5.0]]), 1)
    assert np.isfinite(score).all()
    assert score[0] == score[1]


def test_softmax_novelty_leaves_the_logits_as_they_are() -> None:
    logit = np.array([[1.0, 2.0]])
    softmax_novelty(logit, 2)
    assert logit.tolist() == [[1.0, 2.0]]
