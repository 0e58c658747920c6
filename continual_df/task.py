"""Tasks, batches and rows: the words in which the parts of the program speak to each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from typing_extensions import NotRequired


class Role(IntEnum):
    """Why a row is in a batch."""

    CURRENT = 0
    REPLAY = 1
    UNLABELLED = 2


@dataclass(frozen=True)
class Task:
    """One step of the stream: the forgery methods that become available together.

    Attributes:
        index: Position in the stream, from 0: the column of every matrix.
        name: Name shown in tables and figures.
        methods: Canonical names of the methods that are labelled in this task, without ``real``.
        unlabelled: Methods that are present without a label.
        class_ids: Class id of every method seen up to this task, ``real`` included; ids never change later.
        real_domain: Domain of this task's reals: the index of the first task that it shares one with, or its own.
    """

    index: int
    name: str
    methods: tuple[str, ...]
    unlabelled: tuple[str, ...] = ()
    class_ids: dict[str, int] = field(default_factory=dict)
    real_domain: int = 0

    @property
    def number(self) -> int:
        """Position from 1: the row of every matrix that was measured after this task."""
        return self.index + 1


class Batch(TypedDict):
    """What a method receives; all tensors share their first dimension B.

    Attributes:
        image: (B, C, H, W) float32 in [0, 1].
        label: (B,) long, 0 real, 1 fake, -1 unlabelled.
        method: (B,) long, global class id, -1 unlabelled.
        task: (B,) long, index of the task under whose membership the row was drawn.
        role: (B,) long, a `Role`.
        sample: (B,) long, row of the frame table.
        weight: (B,) float32, what the row counts in a mean over all processes: rows here x processes / rows in all of
            them while training, else 1; 0 for a row that is there only to let this process step with the others.
        second: (B, C, H, W) another view of the same images, where the datamodule's ``second_view`` asks for one.
        group: (B,) long, number of what the image belongs to (a video, a picture and its forgeries); in training.
    """

    image: Tensor
    label: Tensor
    method: Tensor
    task: Tensor
    role: Tensor
    sample: Tensor
    weight: Tensor
    second: NotRequired[Tensor]
    group: NotRequired[Tensor]


class Rows(NamedTuple):
    """Rows of the frame table under their task membership; all (N,) long."""

    sample: Tensor
    label: Tensor
    method: Tensor
    task: Tensor

    @property
    def num(self) -> int:
        """Number of rows."""
        return int(self.sample.shape[0])

    def at(self, index: int) -> tuple[int, int, int, int]:
        """Return (sample, label, method, task) of the row at ``index``."""
        return int(self.sample[index]), int(self.label[index]), int(self.method[index]), int(self.task[index])

    def pick(self, index: Tensor | slice) -> Rows:
        """Return the rows at ``index`` (positions, a boolean mask, or a slice, which copies nothing)."""
        return Rows(*(column[index] for column in self))

    @classmethod
    def empty(cls) -> Rows:
        """Return no rows."""
        return cls(*(torch.empty(0, dtype=torch.long) for _ in cls._fields))

    @classmethod
    def concat(cls, parts: list[Rows]) -> Rows:
        """Return all rows of ``parts`` in order."""
        return cls(*(torch.cat(columns) for columns in zip(*parts, strict=True))) if parts else cls.empty()


def once(rows: Rows) -> Rows:
    """Return ``rows`` without those of a sample that has come before."""
    _, first = np.unique(rows.sample.numpy(), return_index=True)
    return rows.pick(torch.from_numpy(np.sort(first)))


class Pairs(NamedTuple):
    """The unlabelled rows of a step and the rows that they were told to be like.

    Attributes:
        sample_U: Their samples.
        partner_U: Samples of their partners; their own where they have none.
        paired_U: Whether they have one.
    """

    sample_U: Tensor
    partner_U: Tensor
    paired_U: Tensor


View = Callable[[Tensor, Tensor], Tensor]
"""``(image_BCHW, sample_B) -> image_BCHW``: another look at the same images, a function of its arguments alone."""


class Extract(Protocol):
    """What a method says of rows that it asks for when a task ends."""

    def __call__(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        """Return the named fields of `Prediction` for ``rows``, in their order, float32 on the CPU; of their ``view`` if given."""
