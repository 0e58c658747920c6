"""Feature distillation: stay where the teacher saw an image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def feature_distillation(feature_RD: Tensor, teacher_RD: Tensor) -> Tensor:
    """Return the mean over dimensions of ``(f - f_teacher)^2`` of each row, (R,)."""
    return (feature_RD - teacher_RD.detach()).square().mean(dim=1)


def unit_feature_distillation(feature_RD: Tensor, teacher_RD: Tensor) -> Tensor:
    """Return the mean over dimensions of the squared difference of unit-length features, (R,): DFIL's, and SUR-LID's as released."""
    return (F.normalize(feature_RD, dim=1) - F.normalize(teacher_RD.detach(), dim=1)).square().mean(dim=1)
