"""Replay memory: rows of the frame table, never pictures, and the rule that chose them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from continual_df.memory.reservoir import select_reservoir
from continual_df.task import Rows


@dataclass(frozen=True)
class Candidates:
    """Rows that a selection rule may choose from.

    Attributes:
        rows: The rows, each sample once.
    """

    rows: Rows


SelectionRule = Callable[[Candidates, int, int], Tensor]
"""``(candidates, budget, seed) -> positions``: a pure function; returns min(budget, N) different positions."""


class ReplayMemory(nn.Module):
    """At most ``capacity`` images, real and fake together, in total or for each task.

    A module only so that its rows travel in the method's checkpoint; they stay on the CPU.

    Args:
        capacity: Number of images, at least 1; in total, or of each task.
        per_task: Keep ``capacity`` images of each task for ever, instead of sharing one budget among all tasks.
        rule: Selection rule, by import path.
        seed: Seed of the rule; write ``${seed_everything}`` in the YAML, so that it follows the run's.
    """

    def __init__(
        self, capacity: int, per_task: bool = False, rule: SelectionRule = select_reservoir, seed: int = 0
    ) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity, self.per_task, self.rule, self.seed = capacity, per_task, rule, seed
        self.rows = Rows.empty()

    def update(self, new: Rows) -> None:
        """Take in the training rows of a task that ended.

        A sample that is in memory already (a real that returns) is not counted twice: it keeps its first membership.
        """
        new = new.pick(~torch.isin(new.sample, self.rows.sample))
        if self.per_task:
            chosen = self.rule(Candidates(new), self.capacity, self.seed)
            self.rows = Rows.concat([self.rows, new.pick(chosen)])
        else:
            union = Rows.concat([self.rows, new])
            self.rows = union.pick(self.rule(Candidates(union), self.capacity, self.seed))

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the rows for the checkpoint, as plain tensors."""
        return self.rows._asdict()

    def set_extra_state(self, state: Any) -> None:  # noqa: ANN401
        """Take the rows from a checkpoint."""
        self.rows = Rows(**{name: value.cpu() for name, value in state.items()})
