"""What the run folder keeps of a method's memories, as columns of one table."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from continual_df.memory.replay_memory import ReplayMemory
from continual_df.task import Rows


def memory_columns(method: nn.Module) -> dict[str, Tensor] | None:
    """Return the columns of ``memory.parquet``, one entry a remembered image; None for a method without a memory.

    They are those of `Rows` and the values that the memory keeps beside them. Where a method has several memories, their rows
    follow each other, and the column ``memory`` numbers them from 0, in the order in which the method was given them.

    Args:
        method: A module whose memories are its children.

    Raises:
        ValueError: One of several memories keeps values, which the others lack.
    """
    memories = [part for part in method.children() if isinstance(part, ReplayMemory)]
    if len(memories) < 2:
        return {**memories[0].rows._asdict(), **memories[0].values} if memories else None
    if kept := sorted({name for memory in memories for name in memory.values}):
        raise ValueError(
            f"{type(method).__name__} has {len(memories)} memories, whose rows are one table; but {', '.join(kept)} is kept "
            "beside some of them. Keep values in the memory of a method that has one."
        )
    number_M = torch.cat([torch.full((memory.rows.num,), number) for number, memory in enumerate(memories)])
    return {**Rows.concat([memory.rows for memory in memories])._asdict(), "memory": number_M}
