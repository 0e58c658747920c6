"""Logit distillation: answer as the teacher does."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def logit_distillation(logit_BC: Tensor, teacher_BC: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL( softmax(teacher / T) || softmax(logit / T) )`` of each row, (B,).

    Hinton et al., 2015, arXiv:1503.02531.
    """
    student = F.log_softmax(logit_BC / temperature, dim=1)
    teacher = F.log_softmax(teacher_BC.detach() / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)


def binary_logit_distillation(logit_B: Tensor, teacher_B: Tensor, temperature: float) -> Tensor:
    """Return `logit_distillation` of each row, (B,), between logits of P(fake): those of real are 0."""
    student_B2, teacher_B2 = (F.pad(one_B[:, None], (1, 0)) for one_B in (logit_B, teacher_B))
    return logit_distillation(student_B2, teacher_B2, temperature)
