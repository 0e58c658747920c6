"""BNNeck: batch normalisation between features and a classifier."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BNNeck(nn.BatchNorm1d):
    """Batch normalisation whose bias stays 0, so that features lie around the origin.

    Luo et al., 2019, arXiv:1903.07071. A training batch of a single row, of which there are no statistics, is normalised by the
    running ones.

    Args:
        num_features: Length D of the features.
        scale: Learn a weight for each dimension, 1 at first; otherwise there is no parameter at all.
    """

    def __init__(self, num_features: int, scale: bool = True) -> None:
        super().__init__(num_features, affine=scale)
        if scale:
            self.bias.requires_grad_(False)

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return normalised features, (B, D)."""
        if self.training and len(feature_BD) == 1:
            return F.batch_norm(
                feature_BD, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(feature_BD)
