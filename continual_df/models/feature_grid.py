"""Feature maps of all backbones in one layout."""

from __future__ import annotations

import math

from torch import Tensor


def feature_grid(map_any: Tensor, num_channels: int) -> Tensor:
    """Return map_BDHW of a detector's map: of convolutions as it is, of channels last turned, of tokens laid out in a square.

    Of tokens, the last ``n^2`` for the largest n are places; those before (class, registers) are dropped.

    Args:
        map_any: (B, D, H, W), (B, H, W, D) or (B, N, D).
        num_channels: Its number D of channels.

    Raises:
        ValueError: If no axis that could be that of the channels has D entries.
    """
    shape = tuple(map_any.shape)
    if len(shape) == 4 and shape[1] == num_channels:
        return map_any
    if len(shape) == 4 and shape[3] == num_channels:
        return map_any.permute(0, 3, 1, 2)
    if len(shape) == 3 and shape[2] == num_channels:
        side = math.isqrt(shape[1])
        return map_any[:, -side * side :].transpose(1, 2).reshape(len(map_any), num_channels, side, side)
    raise ValueError(
        f"The detector's last map is {shape}, which has no axis of {num_channels} channels: give the number of channels of the "
        "map, which some backbones widen when they pool it."
    )
