from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.losses.refill import refill, refill_released


def barycentric(point: torch.Tensor, corners: list[torch.Tensor]) -> np.ndarray:
    """Coordinates of ``point`` in the triangle of ``corners``."""
    system = np.vstack([np.stack([corner.numpy() for corner in corners], axis=1), np.ones(3)])
    return np.asarray(np.linalg.lstsq(system, np.append(point.numpy(), 1.0), rcond=None)[0])


def test_features_lie_in_the_triangle_of_two_rows_and_the_centroid() -> None:
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0]], dtype=torch.float64)
    centroid = torch.tensor([[1.0, 5.0, -2.0]], dtype=torch.float64)
    for _ in range(50):
        filled_RD = refill(corners, torch.zeros(2, dtype=torch.long), centroid.expand(2, -1))
        for row in filled_RD:
            weights = barycentric(row, [corners[0], corners[1], centroid[0]])
            assert weights.min() > -1e-9
            assert weights.sum() == pytest.approx(1)


def test_the_whole_triangle_is_reached() -> None:
    torch.manual_seed(0)
    corners, centroid_RD = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    draws = torch.cat([refill(corners, torch.zeros(2, dtype=torch.long), centroid_RD) for _ in range(500)])
    assert draws[:, 1].min() < 0.05
    assert draws[:, 1].max() > 0.95
    assert draws[:, 0].max() > 0.9


@pytest.mark.parametrize("fill", [refill, refill_released])
def test_rows_are_filled_within_their_domain(fill: object) -> None:
    torch.manual_seed(0)
    feature_RD = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    domain_R = torch.tensor([4, 4, 4, 7, 7])
    centroid_RD = torch.tensor([[2.0, 0.0]] * 3 + [[0.0, 2.0]] * 2)
    for _ in range(30):
        filled_RD = fill(feature_RD, domain_R, centroid_RD)  # type: ignore[operator]
        assert filled_RD.shape == feature_RD.shape
        assert (filled_RD[:3, 1] == 0).all()
        assert (filled_RD[3:, 0] == 0).all()


def test_the_gradient_reaches_the_features() -> None:
    feature_RD = torch.rand(3, 4, requires_grad=True)
    refill(feature_RD, torch.tensor([0, 0, 1]), torch.zeros(3, 4)).sum().backward()  # type: ignore[no-untyped-call]
    assert feature_RD.grad is not None
    assert feature_RD.grad.abs().sum() > 0


@pytest.mark.parametrize("fill", [refill, refill_released])
def test_no_rows_are_left_as_they_are(fill: object) -> None:
    nothing = torch.empty(0, 4)
    assert fill(nothing, torch.empty(0, dtype=torch.long), nothing).shape == (0, 4)  # type: ignore[operator]


def test_the_released_code_has_three_ways_to_fill() -> None:
    feature_RD = torch.tensor([[0.0], [2.0], [10.0]])
    domain_R, centroid_RD = torch.zeros(3, dtype=torch.long), torch.full((3, 1), 4.0)
    kinds = set()
    for seed in range(40):
        torch.manual_seed(seed)
        filled = refill_released(feature_RD, domain_R, centroid_RD).squeeze(1)
        if (filled == torch.tensor([1.0, 6.0, 5.0])).all():
            kinds.add("midpoints")
        elif int((filled == feature_RD.squeeze(1)).sum()) == 2:
            assert 4.0 in filled.tolist()
            kinds.add("mean")
        else:
            share = (filled - 4) / (feature_RD.squeeze(1) - 4)
            assert share.min() >= 0.5
            assert share.max() <= 1
            kinds.add("towards centroid")
    assert kinds == {"midpoints", "mean", "towards centroid"}
