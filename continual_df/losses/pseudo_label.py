"""Pseudo-labels: what unlabelled rows are taken to be, and how much each of them counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PseudoLabels(NamedTuple):
    """What a rule says of U unlabelled rows.

    Attributes:
        target_UK: Shares of the K heads, each row's sum 1; without gradient.
        weight_U: What each row counts, at least 0.
    """

    target_UK: Tensor
    weight_U: Tensor


class PseudoLabeller(nn.Module, ABC):
    """A rule for pseudo-labels; a module only so that what it has seen of earlier steps travels in a checkpoint.

    In each step, give `observe` the unlabelled rows of all processes, so that all of them keep the same state, and then ask for
    their labels; call `end_epoch` after each epoch.
    """

    def observe(self, logit_UK: Tensor, other_UK: Tensor) -> None:
        """Take in the logits of a step's unlabelled rows, and those of their other view (or the same again); most rules need not."""

    def end_epoch(self) -> None:
        """Take what was observed since the last call for what the epoch brought; most rules need not."""

    @abstractmethod
    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits; ``generator`` is what rules draw with, torch's global one if none is given."""


def pseudo_label_loss(logit_UK: Tensor, labels: PseudoLabels, accepted_U: Tensor | None = None) -> Tensor:
    """Return ``w_i CE(target_i, softmax(logit_i))`` of each row, (U,); 0 where ``accepted_U`` is False.

    Its mean is one over all rows, as in CPL and FixMatch, not over those that count.

    Args:
        logit_UK: Logits that are to become as the labels say: those which they were made from, or of another view.
        labels: Of a `PseudoLabeller`.
        accepted_U: Rows that may count, such as those that passed a vote; all if none is given.
    """
    loss_U = -(labels.target_UK * F.log_softmax(logit_UK.float(), dim=1)).sum(dim=1) * labels.weight_U
    return loss_U if accepted_U is None else loss_U * accepted_U


def top_heads(logit_UK: Tensor) -> tuple[Tensor, Tensor]:
    """Return confidence_U, the largest probability of each row, and head_U, that of which head it is; without gradient."""
    confidence_U, head_U = logit_UK.detach().float().softmax(dim=1).max(dim=1)
    return confidence_U, head_U


def hard_labels(logit_UK: Tensor, threshold_U: Tensor | float) -> PseudoLabels:
    """Return the top head of each row, counting 1 where its probability is at least ``threshold_U``, else 0."""
    confidence_U, head_U = top_heads(logit_UK)
    target_UK = F.one_hot(head_U, logit_UK.shape[1]).to(confidence_U.dtype)
    return PseudoLabels(target_UK, (confidence_U >= threshold_U).to(confidence_U.dtype))
