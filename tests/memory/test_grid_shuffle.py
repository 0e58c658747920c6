from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_df.memory.grid_shuffle import cell_orders, grid_shuffle


@pytest.mark.parametrize("cells", [2, 3, 4])
@pytest.mark.parametrize("size", [(12, 12), (13, 17), (4, 31)])
def test_shuffle_moves_whole_cells_as_the_loop_over_them_does(cells: int, size: tuple[int, int]) -> None:
    height, width = size
    image, sample = torch.rand(5, 3, height, width), torch.arange(5) * 11
    expected = image.clone()
    h, w = height // cells, width // cells
    top, left = (height % cells) // 2, (width % cells) // 2
    for i, order in enumerate(cell_orders(sample, cells * cells, 3).tolist()):
        for to, source in enumerate(order):
            (y, x), (v, u) = divmod(to, cells), divmod(source, cells)
            ys, xs = slice(top + y * h, top + (y + 1) * h), slice(left + x * w, left + (x + 1) * w)
            vs, us = slice(top + v * h, top + (v + 1) * h), slice(left + u * w, left + (u + 1) * w)
            expected[i, :, ys, xs] = image[i, :, vs, us]
    before = image.clone()
    assert torch.equal(grid_shuffle(image, sample, cells, 3), expected)
    assert torch.equal(image, before)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**40))
def test_no_pixel_is_lost_and_no_image_stays(cells: int, more_rows: int, more_columns: int, sample: int) -> None:
    height, width = cells + more_rows, cells + more_columns
    image = torch.arange(2.0 * height * width).reshape(1, 2, height, width).repeat(3, 1, 1, 1)
    shuffled = grid_shuffle(image, torch.arange(sample, sample + 3), cells)
    for one in shuffled:
        assert one.flatten(1).sort().values.flatten().tolist() == list(range(2 * height * width))
        assert not torch.equal(one, image[0])


def test_orders_are_uniform_among_all_but_the_identity() -> None:
    orders = Counter(map(tuple, cell_orders(torch.arange(23_000), 4, 0).tolist()))
    assert len(orders) == 23
    assert (0, 1, 2, 3) not in orders
    # 1,000 each, standard deviation 31
    assert all(abs(count - 1000) < 130 for count in orders.values())


def test_order_of_an_image_is_a_function_of_seed_and_sample_alone() -> None:
    sample = torch.arange(50)
    orders = cell_orders(sample, 9, 0)
    assert torch.equal(cell_orders(sample.flip(0), 9, 0).flip(0), orders)
    assert not torch.equal(cell_orders(sample, 9, 1), orders)
    assert len(np.unique(orders.numpy(), axis=0)) == 50


@pytest.mark.parametrize("cells", [0, 1, 5])
def test_cells_that_do_not_fit_are_refused(cells: int) -> None:
    message = f"cells must be from 2 to the pixels of a side, got {cells} for 4 x 9 pixels"
    with pytest.raises(ValueError, match=message):
        grid_shuffle(torch.rand(1, 3, 4, 9), torch.tensor([0]), cells)
