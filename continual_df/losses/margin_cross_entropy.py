"""Cross-entropy with a margin that makes known classes easier, so that novel ones keep up."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def margin_cross_entropy(logit_BK: Tensor, class_B: Tensor, margin: float | Tensor, scale: float = 1.0) -> Tensor:
    """Return the cross-entropy of each row, (B,), with ``scale margin`` added to the logit of its class.

    A positive margin makes the loss smaller, and so labelled rows pull less. CPL has 0.2 and a scale of 1; ORCA has
    `adaptive_margin`, and a scale of 10, by which its cosines are multiplied, too.

    Sun et al., 2023, arXiv:2309.11132; Cao et al., 2022, arXiv:2102.03526.

    Args:
        logit_BK: Logits, already scaled.
        class_B: Class of each row, at least 0.
        margin: What is added, in units of ``1 / scale``.
        scale: What multiplies it.
    """
    added_BK = F.one_hot(class_B, logit_BK.shape[1]) * (scale * margin)
    return F.cross_entropy(logit_BK.float() + added_BK, class_B, reduction="none")


def uncertainty(logit_UK: Tensor) -> Tensor:
    """Return ``1 - mean_i max softmax(logit_i)`` over unlabelled rows, a scalar in [0, 1 - 1/K]; without gradient."""
    return 1 - logit_UK.detach().float().softmax(dim=1).amax(dim=1).mean()


def adaptive_margin(uncertainty: float, most: float = 0.5) -> float:
    """Return ``min(uncertainty, most)``: ORCA's margin, which falls to 0 as unlabelled rows become sure.

    Args:
        uncertainty: Of `uncertainty`, over an epoch.
        most: Largest margin.
    """
    return min(uncertainty, most)
