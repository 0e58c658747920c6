"""Class-balanced memory: equally many images of each domain (task x real or fake)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from continual_df.randomness import priority

if TYPE_CHECKING:
    from continual_df.memory.replay_memory import Candidates


def select_class_balanced(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return ``budget`` positions spread as evenly as possible over the domains (task, label) of the candidates.

    The j-th image of least priority of every domain comes before the (j+1)-th of any: quotas differ by at most one,
    and what a small domain cannot fill goes to the others.
    """
    rows = candidates.rows
    key = priority(seed, rows.sample.numpy())
    _, domain = np.unique(np.stack([rows.task.numpy(), rows.label.numpy()]), axis=1, return_inverse=True)
    order = np.lexsort((key, domain.ravel()))
    sizes = np.bincount(domain.ravel()) if rows.num else np.empty(0, dtype=int)
    rank = np.empty(rows.num, dtype=np.int64)
    rank[order] = np.concatenate([np.arange(size) for size in sizes]) if rows.num else []
    return torch.from_numpy(np.sort(np.lexsort((key, rank))[:budget]))
