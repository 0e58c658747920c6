"""Neighbouring-pixel residuals (NPR): what is left of an image when each 2x2 cell loses its top-left pixel."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class NeighbourResidual(nn.Module):
    """Residual of nearest down- and up-sampling: x - up2(down2(x)), scaled by 2/3.

    Up-sampling in generators leaves fixed relations between neighbours, which survive here while content vanishes.

    Tan et al., 2024, arXiv:2312.10461. Differs from it: pixels are scaled to [-1, 1] instead of ImageNet statistics.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Return the residual of ``image`` (B, C, H, W) in [0, 1]; an odd last row or column is dropped."""
        even = image[..., : image.shape[-2] // 2 * 2, : image.shape[-1] // 2 * 2]
        corner = F.interpolate(even[..., ::2, ::2], scale_factor=2, mode="nearest")
        return (even - corner) * (2 * 2 / 3)
