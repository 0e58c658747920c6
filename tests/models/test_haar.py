from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.models.haar import haar_high_bands

LOW, HIGH = np.array([1, 1]) / np.sqrt(2), np.array([1, -1]) / np.sqrt(2)


def naive(plane_HW: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Filter and halve columns, then rows."""
    height, width = plane_HW.shape
    plane_HW = np.pad(plane_HW, ((0, height % 2), (0, width % 2)), mode="edge")
    filter_22 = np.outer(down, across)
    rows, columns = plane_HW.shape[0] // 2, plane_HW.shape[1] // 2
    squares = [[plane_HW[2 * y : 2 * y + 2, 2 * x : 2 * x + 2] for x in range(columns)] for y in range(rows)]
    return np.array([[(square * filter_22).sum() for square in row] for row in squares])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 6), (7, 5), (1, 1)])
def test_bands_are_those_of_the_filters(height: int, width: int) -> None:
    map_BDHW = np.random.default_rng(0).normal(size=(2, 3, height, width))
    found = haar_high_bands(torch.from_numpy(map_BDHW)).numpy()
    filters = [(LOW, HIGH), (HIGH, LOW), (HIGH, HIGH)]
    expected = [[[naive(plane, *pair) for plane in image] for image in map_BDHW] for pair in filters]
    np.testing.assert_allclose(found, np.array(expected), atol=1e-12)


def test_an_even_map_keeps_its_energy_but_for_the_low_band() -> None:
    map_BDHW = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    low = torch.nn.functional.avg_pool2d(map_BDHW, 2) * 2
    energy = haar_high_bands(map_BDHW).square().sum() + low.square().sum()
    torch.testing.assert_close(energy, map_BDHW.square().sum())


def test_a_flat_map_has_no_high_bands() -> None:
    assert not haar_high_bands(torch.full((1, 2, 5, 4), 3.0)).any()
