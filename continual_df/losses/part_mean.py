"""The mean of a loss over some rows of a batch, which several processes share."""

from __future__ import annotations

from torch import Tensor

from continual_df.ranks import sums_of_all


def part_mean(loss_R: Tensor, weight_B: Tensor) -> Tensor:
    """Return the mean of ``loss_R`` over the rows of all processes that it is given for; 0, still in the graph, if there is none.

    A process has ``sum(loss_R) / R_all x B_all / B`` of it, so that the mean over processes, each weighted by its rows as
    `Method.training_step` does, is the sum over all rows by their number R_all. All processes must call it.

    Args:
        loss_R: The loss of this process's rows in the part; none of them may be a row that does not count.
        weight_B: The batch's ``weight``: 0 where this process has no row of its own.
    """
    counts = bool((weight_B > 0).any())
    rows_all, batch_all = sums_of_all([len(loss_R) * counts, len(weight_B) * counts], weight_B.device)
    return loss_R.sum() / max(rows_all, 1) * (batch_all / len(weight_B))
