"""The one batch sampler: executes a method's plan, the same for any number of workers or processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.utils.data import BatchSampler, SequentialSampler

from continual_df.randomness import generator_at
from continual_df.task import Role, Rows

Balance = Literal["none", "label", "method", "task", "domain"]


@dataclass(frozen=True)
class Source:
    """One part of every batch, as a method asks for it.

    Attributes:
        rows: Rows to draw from.
        per_batch: Rows of it in each batch (over all processes).
        balance_by: Draw equally often from each label, method, task, or domain (task and label); ``none`` draws
            each row once before any comes again.
        role: Role of the rows in the batch.
    """

    rows: Rows
    per_batch: int
    balance_by: Balance = "none"
    role: Role = Role.CURRENT


class Draw(NamedTuple):
    """One place in a batch: which row, under which membership, in which pass over its source, and what it counts."""

    sample: int
    label: int
    method: int
    task: int
    role: int
    epoch: int
    weight: float = 1.0


class PlanBatchSampler(BatchSampler):
    """Yield batches of `Draw` by a plan; batch ``i`` of epoch ``e`` depends on (seed, task, e, i) alone.

    An epoch is one pass over the current rows (the longest current source): its last batch may be short. Other
    sources go on through their own permutations from batch to batch and epoch to epoch.

    Args:
        plan: Sources of every batch.
        seed: Seed of the run.
        task: Index of the task.
        rank: Index of this process; it takes every ``world_size``-th draw of the global batch, each of a weight that
            makes the mean over processes of their mean losses the mean over the global batch.
        world_size: Number of processes.
        epoch: Epoch that the first iteration yields; `set_epoch` chooses others.
        start: Batches that the first iteration leaves out, since a run that is resumed has had them; the length stays
            that of an epoch.
    """

    def __init__(
        self,
        plan: list[Source],
        seed: int,
        task: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        epoch: int = 0,
        start: int = 0,
    ) -> None:
        current = [source for source in plan if source.role == Role.CURRENT]
        if not current or not all(source.rows.num for source in plan):
            raise ValueError("plan must hold at least one source of current rows, and no empty source")
        if any(source.per_batch < 1 for source in plan):
            raise ValueError(f"per_batch must be at least 1, got {[source.per_batch for source in plan]}")
        self._pace = max(range(len(plan)), key=lambda i: (plan[i].role == Role.CURRENT) * _num_batches(plan[i]))
        num_rows = plan[self._pace].rows.num
        super().__init__(SequentialSampler(range(num_rows)), plan[self._pace].per_batch, drop_last=False)
        self.sampler = self  # type: ignore[assignment]  # where Lightning looks for set_epoch
        self.plan, self.seed, self.task, self.rank, self.world_size = plan, seed, task, rank, world_size
        self.epoch, self.start = epoch, start
        self._groups = [_groups(source) for source in plan]
        self._permutations: dict[tuple[int, int], tuple[int, np.ndarray]] = {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return _num_batches(self.plan[self._pace])

    def batch(self, epoch: int, index: int) -> list[Draw]:
        """Return global batch ``index`` of ``epoch``."""
        draws = []
        for number, source in enumerate(self.plan):
            if number == self._pace:  # an epoch is one pass: its last batch may be short
                num_rows = source.rows.num
                start = epoch * num_rows + index * source.per_batch
                stop = min(start + source.per_batch, (epoch + 1) * num_rows)
            else:
                start = (epoch * len(self) + index) * source.per_batch
                stop = start + source.per_batch
            draws += [self._draw(number, place) for place in range(start, stop)]
        return draws

    def _draw(self, number: int, place: int) -> Draw:
        """Return draw ``place`` of the endless sequence of source ``number``."""
        source, groups = self.plan[number], self._groups[number]
        turn, group = divmod(place, len(groups))
        cycle, position = divmod(turn, len(groups[group]))
        row = groups[group][self._permutation(number, group, cycle)[position]]
        return Draw(*source.rows.at(row), int(source.role), cycle)

    def _permutation(self, number: int, group: int, cycle: int) -> np.ndarray:
        """Return the order of a group in its pass ``cycle``; the last one is kept, since draws come in order."""
        last = self._permutations.get((number, group))
        if last is None or last[0] != cycle:
            generator = generator_at(self.seed, self.task, number, group, cycle)
            last = (cycle, generator.permutation(len(self._groups[number][group])))
            self._permutations[number, group] = last
        return last[1]

    def __iter__(self) -> Iterator[list[Draw]]:  # type: ignore[override]
        epoch, start, self.start = self.epoch, self.start, 0
        for index in range(start, len(self)):
            draws = self.batch(epoch, index)
            mine = draws[self.rank :: self.world_size]
            weight = len(mine) * self.world_size / len(draws)
            # each process needs a row to step with the others: one that has none repeats a row of weight 0
            yield [draw._replace(weight=weight) for draw in mine or [draws[self.rank % len(draws)]]]


def _num_batches(source: Source) -> int:
    """Return the batches of one pass over ``source``."""
    return -(-source.rows.num // source.per_batch)


def _groups(source: Source) -> list[np.ndarray]:
    """Return positions of the source's rows, one array per balanced value."""
    rows = source.rows
    if source.balance_by == "none":
        return [np.arange(rows.num)]
    keys = {
        "label": [rows.label],
        "method": [rows.method],
        "task": [rows.task],
        "domain": [rows.task, rows.label],
    }[source.balance_by]
    _, code = torch.unique(torch.stack(keys, dim=1), dim=0, return_inverse=True)
    return [np.flatnonzero(code.numpy() == value) for value in range(int(code.max()) + 1)]
