"""Heads: what turns pooled features into logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from continual_df.models.addressed_linear import addressed_linear


class TaskHeads(nn.Module):
    """One linear head for each task, all of them registered, so that optimizers train and checkpoints hold them.

    Args:
        num_features: Length D of the pooled vector.
        num_classes: Logits C of each head: 2 (real, fake) or 1 (fake).
    """

    def __init__(self, num_features: int, num_classes: int = 2) -> None:
        super().__init__()
        self.num_features, self.num_classes = num_features, num_classes
        self.seed = torch.initial_seed()
        self.heads = nn.ModuleList()

    def grow(self) -> None:
        """Add the head of the next task, on the device of the others."""
        head = addressed_linear(self.num_features, self.num_classes, self.seed, len(self.heads))
        self.heads.append(head.to(next(self.parameters(), torch.empty(0)).device))

    @property
    def weight_TCD(self) -> Tensor:
        """Weights of all heads, stacked."""
        return torch.stack([head.weight for head in self.heads])  # type: ignore[misc]

    @torch.no_grad()
    def set_weights(self, weight_TCD: Tensor) -> None:
        """Put ``weight_TCD`` in place of the weights; the parameters stay those that the optimizer knows."""
        for head, weight_CD in zip(self.heads, weight_TCD, strict=True):
            head.weight.copy_(weight_CD)  # type: ignore[operator]

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return logit_BTC: every row through every head, so that each head takes part in each step."""
        return torch.stack([head(feature_BD) for head in self.heads], dim=1)


def fake_margin(logit_BTC: Tensor) -> Tensor:
    """Return margin_BT: the logit of P(fake) of each head, fake minus real where there are two classes."""
    return logit_BTC[..., 0] if logit_BTC.shape[-1] == 1 else logit_BTC[..., 1] - logit_BTC[..., 0]
