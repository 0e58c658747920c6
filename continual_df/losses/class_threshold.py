"""A threshold for each head, lower where few rows are learnt (FlexMatch)."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels, hard_labels, top_heads


class ClassThreshold(PseudoLabeller):
    """The top head c of each row, if its probability is at least ``threshold a_c / (2 - a_c)``.

    With n_c the rows of the last epoch whose top head was c at a probability of ``threshold``, and n_0 those that reached it at
    none, ``a_c = n_c / max(n_0, max_k n_k)``. Until the first epoch ends, all a are 0, and every row counts.

    Zhang et al., 2021, arXiv:2110.08263 (FlexMatch, with its warm-up and convex mapping). Differs from it: the counts are those
    of the last epoch, not of each row's last sure label, so that no state is kept by row.

    Attributes:
        share_K: The a of each head.

    Args:
        num_heads: Number K of heads.
        threshold: Probability of a sure label, in [0, 1].
    """

    share_K: Tensor
    sure_K: Tensor
    unsure: Tensor

    def __init__(self, num_heads: int, threshold: float = 0.95) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within [0, 1], got {threshold}")
        self.threshold = threshold
        self.register_buffer("share_K", torch.zeros(num_heads))
        self.register_buffer("sure_K", torch.zeros(num_heads))
        self.register_buffer("unsure", torch.zeros(()))

    def observe(self, logit_UK: Tensor, other_UK: Tensor) -> None:
        """Count the sure labels of a step's rows; the other view is not looked at."""
        confidence_U, head_U = top_heads(logit_UK)
        sure_U = confidence_U >= self.threshold
        self.sure_K += torch.bincount(head_U[sure_U], minlength=len(self.sure_K))
        self.unsure += (~sure_U).sum()

    def end_epoch(self) -> None:
        """Set the thresholds by the counts, and begin to count anew."""
        most = torch.maximum(self.unsure, self.sure_K.max())
        self.share_K.copy_(self.sure_K / most.clamp(min=1))
        self.sure_K.zero_()
        self.unsure.zero_()

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; nothing is drawn."""
        threshold_K = self.threshold * self.share_K / (2 - self.share_K)
        return hard_labels(logit_UK, threshold_K[top_heads(logit_UK)[1]])
