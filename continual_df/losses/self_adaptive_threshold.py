"""Thresholds that follow the confidence of the model (FreeMatch)."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels, hard_labels, top_heads


class SelfAdaptiveThreshold(PseudoLabeller):
    """The top head c of each row, if its probability is at least ``t m_c / max_k m_k``.

    t is the moving average of the ``quantile`` of a step's confidences, m_c that of its mean probability of head c; both begin at
    ``1 / K``. Of few steps, t is far below the confidence of the model: at a momentum of 0.999 it takes a thousand.

    Wang et al., 2023, arXiv:2205.07246 (FreeMatch). Differs from it: t follows a quantile, as in CPL's released hook, instead of
    the mean confidence.

    Attributes:
        level: The t of the formula.
        mean_K: The m of the formula.

    Args:
        num_heads: Number K of heads.
        momentum: Of the averages, in [0, 1).
        quantile: In [0, 1].
    """

    level: Tensor
    mean_K: Tensor

    def __init__(self, num_heads: int, momentum: float = 0.999, quantile: float = 0.8) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be within [0, 1), got {momentum}")
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile must be within [0, 1], got {quantile}")
        self.momentum, self.quantile = momentum, quantile
        self.register_buffer("level", torch.tensor(1 / num_heads))
        self.register_buffer("mean_K", torch.full((num_heads,), 1 / num_heads))

    def observe(self, logit_UK: Tensor, other_UK: Tensor) -> None:
        """Move the averages towards a step's rows, if there are any; the other view is not looked at."""
        if not len(logit_UK):
            return
        probability_UK = logit_UK.detach().float().softmax(dim=1)
        self.level.lerp_(probability_UK.amax(dim=1).quantile(self.quantile), 1 - self.momentum)
        self.mean_K.lerp_(probability_UK.mean(dim=0), 1 - self.momentum)

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; nothing is drawn."""
        threshold_K = self.level * self.mean_K / self.mean_K.max()
        return hard_labels(logit_UK, threshold_K[top_heads(logit_UK)[1]])
