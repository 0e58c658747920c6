"""Rank statistics (RankStats): two images are alike if the same features are the strongest in both."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def same_top_features(feature_UD: Tensor, num: int = 5) -> Tensor:
    """Return same_UU: whether the ``num`` largest features of two rows are the same, in any order; without gradient.

    Han et al., 2020, arXiv:2002.05714.

    Args:
        feature_UD: Features of D dimensions, D at least ``num``; those after a ReLU in the paper.
        num: Number of features, at least 1.
    """
    top_UN = feature_UD.detach().topk(num, dim=1).indices.sort(dim=1).values
    return (top_UN[:, None] == top_UN).all(dim=2)


def pairwise_cross_entropy(logit_UK: Tensor, other_UK: Tensor, same_UU: Tensor) -> Tensor:
    """Return the mean over all pairs (i, j) of the binary cross-entropy of ``<p_i, q_j>`` with ``same_ij``, a scalar.

    ``p = softmax(logit)`` and ``q = softmax(other)``. A pair that is taken to be different costs at most 14: only where both are
    sure of one head within 1e-6 has it no gradient.

    Han et al., 2020, arXiv:2002.05714.

    Args:
        logit_UK: Logits of each row.
        other_UK: Those of the same rows in another view, or ``logit_UK`` again.
        same_UU: Which pairs are of one class.
    """
    log_p_UK = F.log_softmax(logit_UK.float(), dim=1)
    log_q_UK = F.log_softmax(other_UK.float(), dim=1)
    log_same_UU = (log_p_UK[:, None] + log_q_UK).logsumexp(dim=2)
    log_different_UU = torch.log(-torch.expm1(log_same_UU.clamp(max=-1e-6)))
    return -torch.where(same_UU, log_same_UU, log_different_UU).mean()
