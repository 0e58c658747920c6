"""Experience replay: each batch holds current rows and rows of the memory."""

from __future__ import annotations

from typing import Any

from continual_df.data.sampler import Balance, Source
from continual_df.memory import ReplayMemory
from continual_df.methods.base import Method
from continual_df.task import Extract, Role, Rows, Task


class Replay(Method):
    """Experience replay (ER): the loss is the mean over current and replayed rows.

    Every batch of a later task holds ``batch_size`` current and ``replay_per_batch`` remembered rows, so that each
    step has replay, in a fixed share. A remembered real that returns in the current task is replayed all the same: without
    it, a memory of returning reals would add fakes only.

    Chaudhry et al., 2019, arXiv:1902.10486. Differs from it: memory is selected when a task has ended, not per step.

    Args:
        memory: Replay memory.
        replay_per_batch: Remembered rows in each batch, at least 1.
        balance_by: Draw remembered rows equally often from each of these groups.
        **kwargs: Those of `Method`.
    """

    def __init__(
        self,
        memory: ReplayMemory,
        replay_per_batch: int = 16,
        balance_by: Balance = "domain",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if replay_per_batch < 1:
            raise ValueError(f"replay_per_batch must be at least 1, got {replay_per_batch}")
        self.memory, self.replay_per_batch, self.balance_by = memory, replay_per_batch, balance_by

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return the current rows and, from the second task on, the remembered ones."""
        plan = super().batch_plan(task, seen)
        if self.memory.rows.num:
            plan.append(Source(self.memory.rows, self.replay_per_batch, self.balance_by, Role.REPLAY))
        return plan

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Let the memory choose from the task's rows."""
        self.memory.update(rows, extract)
