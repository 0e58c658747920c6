"""One level of the Haar wavelet transform of a feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def haar_high_bands(map_BDHW: Tensor) -> Tensor:
    """Return the three high bands, (3, B, D, ceil(H/2), ceil(W/2)): differences across, down, and on the diagonal.

    Of each square of four ``a b / c d`` they are ``(a - b + c - d) / 2``, ``(a + b - c - d) / 2`` and ``(a - b - c + d) / 2``. An
    odd last row or column is repeated, so that it differs from nothing.

    Args:
        map_BDHW: Feature map, channels before places.
    """
    height, width = map_BDHW.shape[-2:]
    even_BDHW = F.pad(map_BDHW, (0, width % 2, 0, height % 2), mode="replicate")
    a, b = even_BDHW[..., ::2, ::2], even_BDHW[..., ::2, 1::2]
    c, d = even_BDHW[..., 1::2, ::2], even_BDHW[..., 1::2, 1::2]
    return torch.stack([a - b + c - d, a + b - c - d, a - b - c + d]) / 2
