from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from continual_df.audit.confident_learning import confident_disagreements


def naive(label: NDArray[np.int64], prob: NDArray[np.float64]) -> set[int]:
    """Equations 1 and 2 of Northcutt et al. (2021), image by image."""
    num_classes = prob.shape[1]
    threshold = {}
    for j in range(num_classes):
        own = [prob[i, j] for i in range(len(label)) if label[i] == j]
        if own:
            threshold[j] = sum(own) / len(own)
    found = set()
    for i in range(len(label)):
        confident = [j for j in threshold if prob[i, j] >= threshold[j]]
        if confident and max(confident, key=lambda j: prob[i, j]) != label[i]:
            found.add(i)
    return found


@pytest.mark.parametrize("num_classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_rows_equal_the_naive_off_diagonal_of_the_confident_joint(num_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes, 300)
    prob = rng.dirichlet(np.ones(num_classes), 300)
    found = confident_disagreements(label, prob)
    assert set(found.row.tolist()) == naive(label, prob)
    assert len(found.row) > 10


def test_hand_numbers() -> None:
    # thresholds: real (.9 + .8 + .1) / 3 = .6, fake (.9 + .7 + .2) / 3 = .6
    label = np.array([0, 0, 0, 1, 1, 1])
    fake = np.array([0.1, 0.2, 0.9, 0.9, 0.7, 0.2])
    found = confident_disagreements(label, np.stack([1 - fake, fake], axis=1))
    assert found.thresholds.tolist() == pytest.approx([0.6, 0.6])
    assert found.row.tolist() == [2, 5]
    assert found.margin.tolist() == pytest.approx([0.8, 0.6])


def test_a_timid_class_has_a_low_threshold_and_is_not_called_wrong() -> None:
    """Fakes that get .3 throughout are the detector's weakness, not wrong labels: reals reach .95 on average."""
    label = np.repeat([0, 1], 50)
    fake = np.where(label == 1, 0.3, 0.05)
    found = confident_disagreements(label, np.stack([1 - fake, fake], axis=1))
    assert len(found.row) == 0


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.2])
def test_flipped_labels_are_found_with_precision_and_recall(noise: float) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 4000)
    flipped = rng.random(4000) < noise
    logit = rng.normal(size=4000) + 4 * (2 * truth - 1)
    fake = 1 / (1 + np.exp(-logit))
    found = confident_disagreements(np.where(flipped, 1 - truth, truth), np.stack([1 - fake, fake], axis=1))
    precision, recall = flipped[found.row].mean(), flipped[found.row].sum() / flipped.sum()
    assert precision > 0.95
    assert recall > 0.75


def test_clean_labels_of_a_good_detector_give_an_empty_list() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 1000)
    fake = 1 / (1 + np.exp(-(rng.normal(size=1000) + 6 * (2 * truth - 1))))
    assert len(confident_disagreements(truth, np.stack([1 - fake, fake], axis=1)).row) == 0


def test_classes_change_places_with_their_labels() -> None:
    rng = np.random.default_rng(3)
    label, fake = rng.integers(0, 2, 200), rng.random(200)
    prob = np.stack([1 - fake, fake], axis=1)
    assert confident_disagreements(1 - label, prob[:, ::-1]).row.tolist() == (
        confident_disagreements(label, prob).row.tolist()
    )


def test_one_class_and_no_rows_are_no_disagreement() -> None:
    prob = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert len(confident_disagreements(np.array([1, 1]), prob).row) == 0
    assert len(confident_disagreements(np.empty(0, dtype=np.int64), np.empty((0, 2))).row) == 0


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(3,\) and \(2, 2\)"):
        confident_disagreements(np.zeros(3, dtype=np.int64), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        confident_disagreements(np.array([0]), np.array([[np.nan, 1.0]]))
