"""Confidence re-weighting over epochs (CAL): sure rows first, unsure ones later."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def reversing_confidence(logit_BK: Tensor, other_BK: Tensor, progress: float, temperature: float = 0.1) -> Tensor:
    """Return ``w_i CE(q_i, softmax(other_i))`` of each row, (B,), with ``q = softmax(logit / temperature)``.

    ``w = (1 - t) max q + t (1 - max q)``: at first sure rows count, at last unsure ones. No gradient reaches q or w.

    The confidence-aware consistency of CAL, 2026, arXiv:2512.12667.

    Args:
        logit_BK: Logits of the weak view: the teacher.
        other_BK: Logits of the strong view.
        progress: The t of the formula, in [0, 1]; in CAL the number of this epoch, from 1, by that of all epochs.
        temperature: Of the teacher, positive.
    """
    teacher_BK = (logit_BK.detach().float() / temperature).softmax(dim=1)
    confidence_B = teacher_BK.amax(dim=1)
    weight_B = (1 - progress) * confidence_B + progress * (1 - confidence_B)
    return -(teacher_BK * F.log_softmax(other_BK.float(), dim=1)).sum(dim=1) * weight_B
