"""Pools over parts of a feature map, and the local branch of features that is made of them (CPL)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.models.bn_neck import BNNeck
from continual_df.models.feature_grid import feature_grid


def local_pool(map_BDHW: Tensor, patches: int) -> Tensor:
    """Return the means over P x P windows, which may overlap, row by row: (B, P^2, D).

    Of a side S, the windows are ``floor(S / P)`` apart and ``S - (P - 1) floor(S / P)`` wide, so that together they cover the map.

    Sun et al., 2023, arXiv:2309.11132: of 8 x 8, windows of 4 x 4 are 2 apart for P = 3.

    Args:
        map_BDHW: Feature map; it need not be square.
        patches: The number P, at least 1 and at most the shorter side.

    Raises:
        ValueError: If there are no so many windows.
    """
    sides = map_BDHW.shape[-2:]
    if not 1 <= patches <= min(sides):
        raise ValueError(
            f"patches must be within [1, {min(sides)}] for a feature map of {sides[0]} x {sides[1]}, got {patches}: ask for fewer, "
            "or use larger images or a backbone of smaller stride"
        )
    stride = [side // patches for side in sides]
    kernel = [side - (patches - 1) * step for side, step in zip(sides, stride, strict=True)]
    return F.avg_pool2d(map_BDHW, kernel, stride).flatten(2).transpose(1, 2)


class LocalBranch(nn.Module):
    """The features of P x P places, each with a batch normalisation of its own; they are for votes, and carry no gradient.

    Differs from CPL's released code: since nothing trains their weights, there are none.

    Args:
        num_channels: Channels D of the feature map.
        patches: The number P.
    """

    def __init__(self, num_channels: int, patches: int = 3) -> None:
        super().__init__()
        self.num_channels, self.patches = num_channels, patches
        self.neck = BNNeck(patches * patches * num_channels, scale=False)  # by dimension, so places do not mix

    def forward(self, map_any: Tensor) -> Tensor:
        """Return local_BPD, (B, P^2, D), of a map in any layout of `feature_grid`."""
        pooled_BPD = local_pool(feature_grid(map_any.detach(), self.num_channels), self.patches)
        local_BPD: Tensor = self.neck(pooled_BPD.flatten(1)).view_as(pooled_BPD)
        return local_BPD
