"""Joint: train on all tasks so far together; the upper bound."""

from __future__ import annotations

import copy
from typing import Any

from continual_df.data.sampler import Source
from continual_df.methods.base import Method
from continual_df.task import Rows, Task, once


class Joint(Method):
    """For every task, start from the initial weights and train on the rows of all tasks so far.

    An epoch is one pass over all of them; an image that belongs to several tasks comes once.

    Args:
        **kwargs: Those of `Method`.
    """

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self._initial = copy.deepcopy({key: value.cpu() for key, value in self.state_dict().items()})

    def begin_task(self, task: Task) -> None:
        """Go back to the initial weights."""
        super().begin_task(task)
        self.load_state_dict(self._initial)

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return all rows so far as the current ones."""
        return [Source(once(Rows.concat(seen)), self.batch_size)]

    def validation_rows(self) -> Rows:
        """Return those of all tasks so far: the best epoch is the best on what is trained."""
        return once(Rows.concat(self.validation))
