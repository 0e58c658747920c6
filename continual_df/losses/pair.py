"""Pair loss: two images of one class are to be called the same."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pair_loss(logit_BK: Tensor, other_NK: Tensor, positive_B: Tensor) -> Tensor:
    """Return ``-log <p_i, q_j>`` of each row i and its positive j, (B,); both members get gradients.

    ``p = softmax(logit)`` and ``q = softmax(other)``. It is 0 where both are sure of one class; a row that is its own positive is
    made surer of what it says.

    Cao et al., 2022, arXiv:2102.03526 (ORCA: two views); Sun et al., 2023, arXiv:2309.11132 (CPL: one view).

    Args:
        logit_BK: Logits of each row.
        other_NK: Those of the same rows in another view, or ``logit_BK`` again; rows of other batches may follow (N).
        positive_B: Row of ``other_NK`` that each row is paired with.
    """
    log_p_BK = F.log_softmax(logit_BK.float(), dim=1)
    log_q_NK = F.log_softmax(other_NK.float(), dim=1)
    return -(log_p_BK + log_q_NK[positive_B]).logsumexp(dim=1)
