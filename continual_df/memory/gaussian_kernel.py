"""The Gaussian kernel and the bandwidth that the data give it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_kernel(distance: Tensor, bandwidth: float) -> Tensor:
    """Return exp(-distance^2 / (2 bandwidth^2))."""
    return torch.exp(-0.5 * (distance / bandwidth).square())


def median_distance(feature_ND: Tensor, most: int = 1000) -> float:
    """Return the median L2 distance between different rows, the usual bandwidth (Gretton et al., 2012, section 8).

    Of more than ``most`` rows, that many at even steps stand for all. Where the median is 0 (more than half of the pairs
    are equal), the mean takes its place, and 1 where all rows are equal: any bandwidth gives the same kernel then.
    """
    step = max(1, -(-len(feature_ND) // most))
    distance_P = F.pdist(feature_ND[::step])
    if len(distance_P) == 0:
        return 1.0
    return float(distance_P.median()) or float(distance_P.mean()) or 1.0
