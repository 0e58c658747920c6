"""One threshold for known classes and a lower one for novel heads, by how unsure the model is (NACH)."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels, hard_labels, top_heads


class TwoThresholds(PseudoLabeller):
    """The top head of each row, if its probability is at least ``threshold``, or ``threshold - min(2u, 0.5)`` for a novel head.

    u is the uncertainty: one minus the mean confidence of the last epoch's rows; 1 until the first epoch ends.

    Guo et al., 2022 (NACH, NeurIPS), as in a port by others.

    Attributes:
        uncertainty: The u of the formula.

    Args:
        num_known: Number of known classes, whose heads come first.
        threshold: Least probability of a known class, in [0, 1].
    """

    uncertainty: Tensor
    sum: Tensor
    count: Tensor

    def __init__(self, num_known: int, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within [0, 1], got {threshold}")
        self.num_known, self.threshold = num_known, threshold
        self.register_buffer("uncertainty", torch.ones(()))
        self.register_buffer("sum", torch.zeros(()))
        self.register_buffer("count", torch.zeros(()))

    def observe(self, logit_UK: Tensor, other_UK: Tensor) -> None:
        """Add up the confidences of a step's rows; the other view is not looked at."""
        self.sum += top_heads(logit_UK)[0].sum()
        self.count += len(logit_UK)

    def end_epoch(self) -> None:
        """Set the uncertainty by the epoch's mean, if it had rows, and begin to add up anew."""
        if self.count > 0:
            self.uncertainty.copy_(1 - self.sum / self.count)
        self.sum.zero_()
        self.count.zero_()

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; nothing is drawn."""
        novel_U = top_heads(logit_UK)[1] >= self.num_known
        lower = self.threshold - (2 * self.uncertainty).clamp(max=0.5)
        return hard_labels(logit_UK, torch.where(novel_U, lower, self.threshold))
