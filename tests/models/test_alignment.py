from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from continual_df.models.alignment import align_heads, align_heads_released


def largest_angle(weight_TCD: Tensor) -> float:
    """The largest angle between two heads, over classes."""
    unit_TCD = torch.nn.functional.normalize(weight_TCD.double(), dim=2)
    cosine = torch.einsum("tcd,scd->cts", unit_TCD, unit_TCD).clamp(-1, 1)
    return float(torch.arccos(cosine.min()))


@pytest.mark.parametrize("align", [lambda w: align_heads(w, 0.1), align_heads_released])
@pytest.mark.parametrize("num", [2, 3, 6])
def test_alignment_keeps_every_length(align: object, num: int) -> None:
    weight_TCD = torch.randn(num, 2, 7, generator=torch.Generator().manual_seed(num)) * 3
    aligned = align(weight_TCD)  # type: ignore[operator]
    assert torch.allclose(aligned.norm(dim=2), weight_TCD.norm(dim=2), rtol=1e-5)
    assert not torch.allclose(aligned, weight_TCD)


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_angle_of_heads_in_one_cone_never_grows(seed: int) -> None:
    weight_TCD = torch.rand(5, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))  # cosines >= 0
    angle = largest_angle(weight_TCD)
    for _ in range(50):
        weight_TCD = align_heads(weight_TCD, 0.05)
        assert largest_angle(weight_TCD) <= angle + 1e-12
        angle = largest_angle(weight_TCD)


@pytest.mark.parametrize("seed", range(10))
def test_the_angle_of_any_heads_without_antipodes_tends_to_zero(seed: int) -> None:
    weight_TCD = torch.randn(4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for _ in range(3000):
        weight_TCD = align_heads(weight_TCD, 0.02)
    assert largest_angle(weight_TCD) < 1e-3


@pytest.mark.parametrize("align", [lambda w: align_heads(w, 0.1), align_heads_released])
def test_opposite_heads_stay_unchanged_and_finite(align: object) -> None:
    weight_TCD = torch.tensor([[[1.0, 2.0], [0.5, 0.0]], [[-2.0, -4.0], [-3.0, 0.0]]])
    assert torch.allclose(align(weight_TCD), weight_TCD)  # type: ignore[operator]


@pytest.mark.parametrize("align", [lambda w: align_heads(w, 0.1), align_heads_released])
def test_one_head_alone_is_left_as_it_is(align: object) -> None:
    weight_TCD = torch.randn(1, 2, 3)
    assert torch.equal(align(weight_TCD), weight_TCD)  # type: ignore[operator]


def test_a_head_of_length_zero_stays() -> None:
    weight_TCD = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    assert torch.equal(align_heads(weight_TCD, 0.1), weight_TCD)


def test_a_turn_by_hand() -> None:
    weight_TCD = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]]])
    aligned = align_heads(weight_TCD, 0.25)
    length = math.hypot(0.75, 0.25)
    assert torch.equal(aligned[0], weight_TCD[0])
    assert torch.allclose(aligned[1], torch.tensor([[3 * 0.25 / length, 3 * 0.75 / length]]))


def test_released_rates_go_by_age_and_turn_towards_the_least_alike() -> None:
    weight_TCD = torch.tensor([[[1.0, 0.0]], [[0.8, 0.6]], [[0.0, 1.0]]])
    aligned = align_heads_released(weight_TCD, (0.4, 0.2, 0.0))
    assert torch.allclose(aligned[0], weight_TCD[0])  # the oldest has the last rate
    towards_first = torch.nn.functional.normalize(0.6 * weight_TCD[2] + 0.4 * weight_TCD[0], dim=1)
    assert torch.allclose(aligned[2], towards_first)
    towards_last = torch.nn.functional.normalize(0.8 * weight_TCD[1] + 0.2 * weight_TCD[2], dim=1)
    least = weight_TCD[1, 0] @ torch.stack([weight_TCD[0, 0], weight_TCD[2, 0]]).T
    assert int(least.argmin()) == 1
    assert torch.allclose(aligned[1], towards_last)


def test_a_rate_that_could_meet_an_antipode_halfway_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rate must be at least 0 and below 0\.5, got 0\.5"):
        align_heads(torch.ones(2, 2, 2), 0.5)
