"""Mean features by class and confidence, and how far they are from remembered ones (CoReD)."""

from __future__ import annotations

import torch
from torch import Tensor

BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Lower bounds of the confidence bins; each reaches to the next, which belongs to it, the last to 1."""

NUM_CELLS = 2 * len(BOUNDS)
"""Cells: bins of the reals, then bins of the fakes."""


def cell_sums(feature_BD: Tensor, fake_logit_B: Tensor, label_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum_KD of the features and count_K of the rows in each of `NUM_CELLS` cells.

    A row's confidence is its probability of its own class; rows of .5 and less, which are called wrong, are in no cell.
    """
    confidence_B = torch.where(label_B == 1, fake_logit_B, -fake_logit_B).float().sigmoid()
    bin_B = torch.bucketize(confidence_B, torch.tensor(BOUNDS, device=confidence_B.device)) - 1
    cells_K = torch.arange(NUM_CELLS, device=bin_B.device)
    in_cell_BK = ((label_B * len(BOUNDS) + bin_B)[:, None] == cells_K) & (bin_B >= 0)[:, None]
    member_BK = in_cell_BK.to(feature_BD.dtype)
    return member_BK.T @ feature_BD, member_BK.sum(dim=0)


def cell_distance(sum_KD: Tensor, count_K: Tensor, bank_sum_KD: Tensor, bank_count_K: Tensor) -> Tensor:
    """Return the sum over cells of the mean squared difference between the mean features of batch and bank.

    A cell that is empty in either counts 0. The representation loss of Kim et al., 2021, arXiv:2107.02408.
    """
    mean_KD = sum_KD / count_K.clamp(min=1)[:, None]
    bank_KD = bank_sum_KD / bank_count_K.clamp(min=1)[:, None]
    distance_K = (mean_KD - bank_KD).square().mean(dim=1)
    return (distance_K * ((count_K > 0) & (bank_count_K > 0))).sum()
