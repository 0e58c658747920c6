"""The mean of a loss over some rows of a batch."""

from __future__ import annotations

from torch import Tensor


def chosen_mean(loss_B: Tensor, chosen_B: Tensor) -> Tensor:
    """Return the mean of ``loss_B`` over the rows where ``chosen_B`` is True; 0, still in the graph, where none is."""
    chosen = chosen_B.to(loss_B.dtype)
    return (loss_B * chosen).sum() / chosen.sum().clamp(min=1)
