"""Class-balanced memory: equally many images of each domain (task x real or fake)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from continual_df.memory.per_domain import per_domain
from continual_df.memory.reservoir import select_reservoir

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain()
def select_class_balanced(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return a uniform sample of each domain."""
    return select_reservoir(candidates, budget, seed)
