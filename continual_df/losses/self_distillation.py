"""Self-distillation between two views (SimGCD): each is to say what the other says more sharply."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def self_distillation(logit_BK: Tensor, other_BK: Tensor, temperature: float) -> Tensor:
    """Return ``(CE(q', p) + CE(q, p')) / 2`` of each row, (B,), p and p' of the two views.

    ``p = softmax(logit)``, ``q = softmax(logit / temperature)``; no gradient reaches q.

    Wen et al., 2023, arXiv:2211.11727.

    Args:
        logit_BK: Logits of one view.
        other_BK: Logits of the other.
        temperature: Of the teacher q, relative to the logits, positive; see `teacher_temperature`.
    """
    views = logit_BK.float(), other_BK.float()
    shares = [(view.detach() / temperature).softmax(dim=1) for view in views]
    log_shares = [F.log_softmax(view, dim=1) for view in views]
    return -(shares[1] * log_shares[0] + shares[0] * log_shares[1]).sum(dim=1) / 2


def teacher_temperature(epoch: int, start: float = 0.7, end: float = 0.4, epochs: int = 30) -> float:
    """Return the teacher's temperature in an epoch (from 0): from ``start`` to ``end`` in equal steps over ``epochs``, then ``end``.

    SimGCD's 0.07 to 0.04 are of cosines, and its student's is 0.1; relative to logits that are ten cosines, they are the defaults.
    """
    return end + (start - end) * max(0.0, 1 - epoch / max(epochs - 1, 1))
