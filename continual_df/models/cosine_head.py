"""A classifier by angles: what counts is the direction of the weights and of the features, not their length."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from continual_df.models.growing_head import GrowingHead


class CosineHead(GrowingHead):
    """``logit_k = scale cos(w_k, f)``; otherwise a `GrowingHead`.

    The head of ORCA (arXiv:2102.03526) and SimGCD (arXiv:2211.11727), both with a scale of 10.

    Args:
        num_features: Length D of the features.
        num_heads: Number K of heads to begin with.
        scale: What multiplies the cosine, positive: one over the temperature.
    """

    def __init__(self, num_features: int, num_heads: int, scale: float = 10.0) -> None:
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        super().__init__(
            num_features, num_heads, std=num_features**-0.5
        )  # of length 1: a step turns short weights too far
        self.scale = scale

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return logit_BK, within the scale."""
        return self.scale * F.linear(F.normalize(feature_BD, dim=1), F.normalize(self.weight_KD, dim=1))
