"""Reservoir: a uniform sample of everything seen so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from continual_df.randomness import priority

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


def select_reservoir(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return the positions of the ``budget`` candidates of least priority, a function of (seed, sample) alone.

    Applied again and again to memory and new rows, this is a uniform sample without replacement of all rows so far,
    as Vitter's reservoir gives (Vitter, 1985), whatever their order and however they were cut into tasks.
    """
    key = priority(seed, candidates.rows.sample.numpy())
    return torch.from_numpy(np.sort(np.argsort(key, kind="stable")[:budget]))
