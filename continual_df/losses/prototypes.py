"""What a feature has in common with each of several prototypes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_logits(feature_BD: Tensor, prototype_PD: Tensor, temperature: float) -> Tensor:
    """Return ``cos(feature, prototype) / temperature``, (B, P): its softmax is how a row is shared among the prototypes."""
    return F.normalize(feature_BD, dim=1) @ F.normalize(prototype_PD, dim=1).T / temperature


def assignment_loss(similarity_BP: Tensor, own_BP: Tensor) -> Tensor:
    """Return ``-log`` of a row's share in the prototypes that are its own, (B,); 0 where it has none.

    Args:
        similarity_BP: Of `similarity_logits`.
        own_BP: Which prototypes are those of the row's class.
    """
    own_BP = own_BP | ~own_BP.any(dim=1, keepdim=True)
    own_B = similarity_BP.masked_fill(~own_BP, -torch.inf).logsumexp(dim=1)
    return similarity_BP.logsumexp(dim=1) - own_B
