"""Rows of earlier batches among which a row may find its partner, beside those of its own batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class CandidatePool(NamedTuple):
    """What a vote needs to know of M rows, the newest first; without gradient.

    Attributes:
        global_MD: Features of whole images.
        local_MPD: Features of P places of each.
        unit_M: What each row belongs to: rows of one unit are never partners.
        sample_M: Row of the frame table.
    """

    global_MD: Tensor
    local_MPD: Tensor
    unit_M: Tensor
    sample_M: Tensor

    def before(self, older: CandidatePool | None, size: int) -> CandidatePool:
        """Return these rows and then those of ``older``, at most ``size``."""
        if older is None:
            return CandidatePool(*(column[:size] for column in self))
        return CandidatePool(*(torch.cat(columns)[:size] for columns in zip(self, older, strict=True)))

    def to(self, device: torch.device) -> CandidatePool:
        """Return the rows on ``device``."""
        return CandidatePool(*(column.to(device) for column in self))
