"""Distances to the centre of a set of features."""

from __future__ import annotations

import torch
from torch import Tensor


def centroid_distance(feature_ND: Tensor) -> Tensor:
    """Return the L2 distance (N,) of each row to the mean of all."""
    centroid_1D = feature_ND.mean(dim=0, keepdim=True)
    # by differences: the faster products lose the small distances of features with large norms
    return torch.cdist(feature_ND, centroid_1D, compute_mode="donot_use_mm_for_euclid_dist").squeeze(1)
