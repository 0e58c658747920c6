"""Rows of earlier batches among which an unlabelled row may find its partner, beside those of its own batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CandidatePool(NamedTuple):
    """What a vote needs to know of M rows, the newest first; without gradient.

    Attributes:
        global_MD: Features of whole images.
        local_MPD: Features of P places of each.
        unit_M: What each row belongs to: an unlabelled row has no partner in its own unit.
        sample_M: Row of the frame table.
    """

    global_MD: Tensor
    local_MPD: Tensor
    unit_M: Tensor
    sample_M: Tensor

    def before(self, older: CandidatePool | None, size: int) -> CandidatePool:
        """Return these rows and then those of ``older``, at most ``size``: the last ones go."""
        parts = [self] if older is None else [self, older]
        columns = zip(*parts, strict=True)
        return CandidatePool(*(torch.cat(column)[:size].clone() for column in columns))  # a view would be saved whole

    def to(self, device: torch.device) -> CandidatePool:
        """Return the rows on ``device``."""
        return CandidatePool(*(column.to(device) for column in self))
