from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from continual_df.models.novelty import Novelty, novelty_of, novelty_threshold


def calibrated(*similarity: float) -> Novelty:
    novelty = Novelty()
    novelty.calibrate(torch.tensor(similarity))
    return novelty


def test_novelty_is_the_share_of_known_images_at_least_as_similar_and_interpolated_between_them() -> None:
    # four known images make five gaps in [-1, 1]; of equal ones, all are at least as similar
    novelty = calibrated(0.5, 0.9, 0.75, 0.75)
    at_known = torch.tensor([1.0, 0.9, 0.75, 0.5, -1.0])
    assert novelty(at_known).tolist() == pytest.approx([0.0, 0.2, 0.6, 0.8, 1.0])
    halfway = torch.tensor([0.95, 0.825, 0.625, -0.25, -math.inf])
    assert novelty(halfway).tolist() == pytest.approx([0.1, 0.3, 0.7, 0.9, 1.0])


@pytest.mark.parametrize(
    ("rate", "threshold"),
    [
        (0.1, 9),
        (0.25, 8),
        (0.29, 8),
        (0.3, 7),
        (0.9, 1),
        (1.0, 0),
    ],  # ten images: novelties 1 / 11, 2 / 11, ..., 10 / 11
)
def test_threshold_by_hand(rate: float, threshold: float) -> None:
    assert calibrated(*(n / 10 for n in range(10))).threshold(rate) == pytest.approx(threshold / 11)


@given(st.lists(st.sampled_from([-0.5, 0.1, 0.2, 0.3, 0.31, 0.9]), min_size=1, max_size=30), st.floats(0, 1))
def test_threshold_is_the_least_that_keeps_the_rate(similarity: list[float], rate: float) -> None:
    known_N = torch.tensor(similarity).sort().values
    rate = max(rate, 1 / len(similarity))
    own_N = novelty_of(known_N, known_N)

    def share(threshold: float) -> float:
        return float((own_N > threshold).double().mean())

    threshold = novelty_threshold(known_N, rate)
    assert share(threshold) <= rate + 1e-6
    assert all(share(lower) > rate for lower in [0.0, *own_N.tolist()] if lower < threshold)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20), st.floats(-1, 1, width=32))
def test_novelty_is_a_count_and_less_than_one_image_more(similarity: list[float], query: float) -> None:
    count = sum(known >= query for known in similarity)
    found = calibrated(*similarity)(torch.tensor([query])).item() * (len(similarity) + 1)
    assert count - 1e-4 <= found <= count + 1 + 1e-4


KNOWN = st.lists(st.one_of(st.sampled_from([-1.0, 0.5, 1.0]), st.floats(-1, 1, width=32)), min_size=1, max_size=20)


@given(KNOWN, st.sets(st.integers(-1000, 1000), min_size=2, max_size=10))
def test_of_two_images_the_less_similar_is_more_novel(similarity: list[float], queries: set[int]) -> None:
    novelty_B = calibrated(*similarity)(torch.tensor(sorted(queries)) / 1000)
    assert (novelty_B.diff() < 0).all()


def test_a_similarity_that_is_no_number_has_no_novelty() -> None:
    for highest in (0.9, 1.0):
        assert calibrated(0.5, highest)(torch.tensor([math.nan])).isnan().all()


def test_state_travels_in_a_checkpoint(tmp_path: Path) -> None:
    torch.save(calibrated(0.3, 0.1, 0.2).state_dict(), tmp_path / "novelty.pt")
    state = torch.load(tmp_path / "novelty.pt", weights_only=True)
    for other in (Novelty(), calibrated(0.5)):
        other.load_state_dict(state)
        assert other.known_N.tolist() == pytest.approx([0.1, 0.2, 0.3])
        assert other.calibrated


@pytest.mark.parametrize("rate", [0.0, 0.2499, 1.1])
def test_rate_that_four_images_cannot_give_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=rf"must be in \[1 / 4, 1\], as there are 4 calibration images, got {rate}"):
        calibrated(0.1, 0.2, 0.3, 0.4).threshold(rate)


@pytest.mark.parametrize(
    "similarity", [torch.empty(0), torch.ones(2, 1), torch.tensor([0.5, math.nan]), torch.tensor([-math.inf])]
)
def test_calibration_by_nothing_is_refused(similarity: Tensor) -> None:
    with pytest.raises(ValueError, match="similarity_N must be"):
        Novelty().calibrate(similarity)


def test_without_calibration_there_is_no_novelty() -> None:
    assert not Novelty().calibrated
    with pytest.raises(ValueError, match="not calibrated"):
        Novelty()(torch.ones(1))
    with pytest.raises(ValueError, match="not calibrated"):
        Novelty().threshold(0.1)
