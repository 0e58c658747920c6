"""Grid shuffle: an image with its cells in another order keeps what is local and loses the face."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from continual_df.randomness import priority, seed_at


def grid_shuffle(image_BCHW: Tensor, sample_B: Tensor, cells: int, seed: int = 0) -> Tensor:
    """Return each image with the cells of its grid in an order of its own, never the one they came in.

    Every order but that one is equally likely. Where ``cells`` does not divide a side, the grid lies in the middle and the
    pixels around it, fewer than ``cells`` a side, stay where they are: none is lost, doubled or resized.

    Differs from the code of SUR-LID (Cheng et al., 2024, arXiv:2411.11396): there a whole batch gets one order, which
    with 2 x 2 cells is in one batch of 24 the one that it came in.

    Args:
        image_BCHW: The images.
        sample_B: Their rows in the frame table; the order of an image is a function of (seed, sample) alone.
        cells: Cells a side, from 2 up to the pixels of the shorter side.
        seed: Seed.
    """
    batch, channels, height, width = image_BCHW.shape
    if not 2 <= cells <= min(height, width):
        raise ValueError(f"cells must be from 2 to the pixels of a side, got {cells} for {height} x {width} pixels")
    h, w = height // cells, width // cells
    top, left = (height - cells * h) // 2, (width - cells * w) // 2
    inside = (..., slice(top, top + cells * h), slice(left, left + cells * w))
    order_BP = cell_orders(sample_B, cells * cells, seed).to(image_BCHW.device)
    grid = image_BCHW[inside].reshape(batch, channels, cells, h, cells, w).permute(0, 2, 4, 1, 3, 5)
    row_B1 = torch.arange(batch, device=image_BCHW.device)[:, None]
    grid = grid.reshape(batch, cells * cells, channels, h, w)[row_B1, order_BP]
    grid = grid.reshape(batch, cells, cells, channels, h, w).permute(0, 3, 1, 4, 2, 5)
    shuffled = image_BCHW.clone()
    shuffled[inside] = grid.reshape(batch, channels, cells * h, cells * w)
    return shuffled


def cell_orders(sample_B: Tensor, num_cells: int, seed: int) -> Tensor:
    """Return one order (B, P) of P cells a sample, uniform among all but 0, 1, ..., P - 1."""
    sample = sample_B.cpu().numpy()
    order_BP = np.tile(np.arange(num_cells), (len(sample), 1))
    attempt = 0
    while len(same := np.flatnonzero((order_BP == np.arange(num_cells)).all(axis=1))):
        key_bP = np.stack([priority(seed_at(seed, attempt, cell), sample[same]) for cell in range(num_cells)], axis=1)
        order_BP[same] = key_bP.argsort(axis=1, kind="stable")
        attempt += 1
    return torch.from_numpy(order_BP)
