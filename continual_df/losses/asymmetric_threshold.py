"""One threshold for known classes and another for novel heads, in the ratio of their confidences (CAL)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels, hard_labels, top_heads

RATIOS = (0.1, 10.0)
"""Least and largest ratio."""


class AsymmetricThreshold(PseudoLabeller):
    """The top head of each row, if its probability is at least ``threshold``, or ``ratio`` times that for a novel head.

    The ratio is the mean confidence in novel heads over that in known classes, of the last epoch's rows whose two views have the
    same top head, within `RATIOS`. It is 1 until an epoch has had rows of both kinds.

    The asymmetric confidence reinforcement of CAL, 2026, arXiv:2512.12667, there used from the sixth epoch on. Differs from the
    released code: labelled rows have no part in the ratio; there, it is 0 at first.

    Attributes:
        ratio: Of the threshold of novel heads to that of known classes.

    Args:
        num_known: Number of known classes, whose heads come first.
        threshold: Least probability of a known class, in [0, 1].
    """

    ratio: Tensor
    sum_2: Tensor
    count_2: Tensor

    def __init__(self, num_known: int, threshold: float = 0.9) -> None:
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be within [0, 1], got {threshold}")
        self.num_known, self.threshold = num_known, threshold
        self.register_buffer("ratio", torch.ones(()))
        self.register_buffer("sum_2", torch.zeros(2))  # of known classes, of novel heads
        self.register_buffer("count_2", torch.zeros(2))

    def observe(self, logit_UK: Tensor, other_UK: Tensor) -> None:
        """Add up the confidences of a step's rows whose views agree."""
        confidence_U, head_U = top_heads(logit_UK)
        agree_U = head_U == other_UK.argmax(dim=1)
        member_U2 = F.one_hot((head_U >= self.num_known).long(), 2) * agree_U[:, None]
        self.sum_2 += (member_U2 * confidence_U[:, None]).sum(dim=0)
        self.count_2 += member_U2.sum(dim=0)

    def end_epoch(self) -> None:
        """Set the ratio by the epoch's means, and begin to add up anew; it stays where there were rows of one kind only."""
        if (self.count_2 > 0).all():
            known, novel = self.sum_2 / self.count_2
            self.ratio.copy_((novel / known).clamp(*RATIOS))
        self.sum_2.zero_()
        self.count_2.zero_()

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; nothing is drawn."""
        novel_U = top_heads(logit_UK)[1] >= self.num_known
        return hard_labels(logit_UK, torch.where(novel_U, self.threshold * self.ratio, self.threshold))
