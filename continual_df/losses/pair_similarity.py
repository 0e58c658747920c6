"""Pairs are to be called as alike as a network says that they are (OpenLDN)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_similarity(logit_BK: Tensor, similarity_BB: Tensor) -> Tensor:
    """Return ``mean_j (cos(p_i, p_j) - s_ij)^2`` of each row, (B,), with ``p = softmax(logit)``.

    Rizve et al., 2022, arXiv:2207.02261.

    Args:
        logit_BK: Logits of each row.
        similarity_BB: The s of the formula, in [0, 1]: that of `SimilarityNet`.
    """
    with torch.autocast(logit_BK.device.type, enabled=False):
        unit_BK = F.normalize(logit_BK.float().softmax(dim=1), dim=1)
        return (unit_BK @ unit_BK.T - similarity_BB.float()).square().mean(dim=1)
