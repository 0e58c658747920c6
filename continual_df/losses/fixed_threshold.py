"""One threshold for all pseudo-labels (FixMatch), or none."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels, hard_labels


class FixedThreshold(PseudoLabeller):
    """The top head of each row, if its probability is at least ``threshold``.

    Sohn et al., 2020, arXiv:2001.07685 (FixMatch).

    Args:
        threshold: Least probability, in [0, 1]; at 0 every row counts.
    """

    def __init__(self, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within [0, 1], got {threshold}")
        self.threshold = threshold

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; nothing is drawn."""
        return hard_labels(logit_UK, self.threshold)
