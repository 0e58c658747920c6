"""Moderate coreset: the rows at the median distance from the centroid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from continual_df.memory.centroid import centroid_distance
from continual_df.memory.per_domain import per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain("feature_ND")
def select_moderate(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return of each domain the ``budget`` rows whose distance to the mean feature is closest to the median distance.

    Xia et al., 2023, "Moderate Coreset: A Universal Method of Data Selection for Real-world Data-efficient Deep
    Learning", ICLR.
    """
    distance_N = centroid_distance(candidates.given("feature_ND"))
    return (distance_N - float(np.median(distance_N.numpy()))).abs().sort(stable=True).indices[:budget]
