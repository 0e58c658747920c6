"""Centre: the rows nearest to the centroid of their domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from continual_df.memory.centroid import centroid_distance
from continual_df.memory.per_domain import per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain("feature_ND")
def select_centre(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return the ``budget`` rows of least L2 distance to the mean feature of each domain."""
    return centroid_distance(candidates.given("feature_ND")).sort(stable=True).indices[:budget]
