"""Isolation: each domain in a place of its own in feature space."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class IsolationLoss(nn.Module):
    """Supervised contrastive loss over domains: pulls rows of one domain together and pushes all others away.

    With z the features scaled to unit length and P(i) the other rows of row i's domain, the mean over all rows i whose P(i) is
    not empty of ``-1/|P(i)| sum_{p in P(i)} log( exp(z_i.z_p / t) / sum_{a != i} exp(z_i.z_a / t) )``; 0 where there is no
    such row.

    Khosla et al., 2020, arXiv:2004.11362 (L_out), over the domains (task x real or fake) of Cheng et al., 2025,
    arXiv:2411.11396. Differs from SUR-LID's released code, which multiplies by the temperature.

    Args:
        temperature: The t of the formula, positive.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def forward(self, feature_BD: Tensor, domain_B: Tensor) -> Tensor:
        """Return the loss of ``feature_BD`` (any length) whose rows belong to ``domain_B``."""
        z_BD = F.normalize(feature_BD.float(), dim=1)
        itself_BB = torch.eye(len(z_BD), dtype=torch.bool, device=z_BD.device)
        with torch.autocast(z_BD.device.type, enabled=False):  # similarities up to 1 / t lose digits that count in bf16
            similarity_BB = (z_BD @ z_BD.T / self.temperature).masked_fill(itself_BB, -torch.inf)
        log_share_BB = (similarity_BB - similarity_BB.logsumexp(dim=1, keepdim=True)).masked_fill(itself_BB, 0)
        positive_BB = (domain_B[:, None] == domain_B) & ~itself_BB
        count_B = positive_BB.sum(dim=1)
        loss_B = -(log_share_BB * positive_BB).sum(dim=1) / count_B.clamp(min=1)
        return loss_B.sum() / (count_B > 0).sum().clamp(min=1)


def domains_of(label_B: Tensor, task_B: Tensor, real_domains: list[int]) -> Tensor:
    """Return domain_B: one for the fakes of each task, and for its reals that of its ``real_domain``.

    Args:
        label_B: 0 real, 1 fake.
        task_B: Index of each row's task.
        real_domains: `Task.real_domain` of each task.
    """
    real_T = torch.tensor(real_domains, device=task_B.device)
    return torch.where(label_B == 0, 2 * real_T[task_B], 2 * task_B + 1)
