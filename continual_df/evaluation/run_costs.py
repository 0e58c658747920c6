"""What a run has paid, as its ``compute.json`` says: by task and phase, as the ledger counted it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from continual_df.cost import NOT_LEARNING
from continual_df.errors import RunFolderError
from continual_df.evaluation.run_files import read_json

SCHEMAS = (1, 2)
"""Versions of the file; the first knows neither the sizes of a learner nor what was paid before the stream."""

BEFORE = 0
"""Number under which stands what was paid before the first task."""


class Paid(NamedTuple):
    """What a phase has cost."""

    flops: float
    seconds: float


@dataclass(frozen=True)
class TaskCosts:
    """What was paid in one task.

    Attributes:
        phases: Costs by phase.
        num_parameters: Parameters of the learner in this task; None where not noted.
        stored_bytes: Bytes that the learner keeps after it, in all, once: the checkpoint, which holds the same again, is left out. None where
            not noted.
        memory_bytes: What of them is replay memory: the files of the images and what is kept beside each.
    """

    phases: dict[str, Paid]
    num_parameters: int | None
    stored_bytes: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class RunCosts:
    """What a run has paid.

    Attributes:
        schema: Version of the file.
        tasks: Costs by the number of the task, `BEFORE` for what came before the first.
        notes: Sentences on what was paid and is not counted.
        devices: What has trained; empty where not noted.
    """

    schema: int
    tasks: dict[int, TaskCosts]
    notes: list[str]
    devices: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """Number of the last task with costs."""
        return max(self.tasks)

    @property
    def phases(self) -> list[str]:
        """The phases of all tasks, in order of first appearance."""
        return list(dict.fromkeys(name for task in self.tasks.values() for name in task.phases))

    def total(self, phases: Iterable[str] | None = None, tasks: Iterable[int] | None = None) -> Paid:
        """Return the sum over ``phases`` (default: what learning takes, all but `NOT_LEARNING`) and ``tasks`` (default all)."""
        chosen = [name for name in self.phases if name not in NOT_LEARNING] if phases is None else list(phases)
        numbers = list(self.tasks) if tasks is None else [number for number in tasks if number in self.tasks]
        paid = [cost for number in numbers for name, cost in self.tasks[number].phases.items() if name in chosen]
        return Paid(math.fsum(cost.flops for cost in paid), math.fsum(cost.seconds for cost in paid))

    def flops_by_task(self, num_tasks: int, phases: Iterable[str] | None = None) -> NDArray[np.float64]:
        """Return (T + 1,) FLOPs of ``phases`` (default: what learning takes), before the first task and of each.

        NaN for tasks that have not been reached.
        """
        chosen = None if phases is None else list(phases)
        flops = [
            self.total(chosen, [number]).flops if number <= self.last else math.nan for number in range(num_tasks + 1)
        ]
        return np.array(flops)


def read_costs(run: Path) -> RunCosts:
    """Return the costs of ``run``.

    Raises:
        RunFolderError: If the file is missing, broken, or of a version that is not known.
    """
    path = run / "compute.json"
    content = read_json(path)
    schema = content.get("schema")
    if schema not in SCHEMAS:
        known = " or ".join(map(str, SCHEMAS))
        raise RunFolderError(
            f"{path}: schema {schema!r} is not known, only {known}. Read it with the version that wrote it."
        )
    entries = content.get("tasks")
    if not isinstance(entries, list) or not entries:
        raise RunFolderError(f"{path}: the key 'tasks' is missing or empty. Restore the file.")
    tasks: dict[int, TaskCosts] = {}
    for entry in entries:
        try:
            number, costs = int(entry["task"]), _task(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise RunFolderError(f"{path}: entry {len(tasks)} of 'tasks': {problem}. Restore the file.") from None
        if number in tasks:
            raise RunFolderError(f"{path}: task {number} stands there twice. Restore the file.")
        tasks[number] = costs
    notes, devices = ([str(text) for text in content.get(key, [])] for key in ("notes", "devices"))
    return RunCosts(schema, dict(sorted(tasks.items())), notes, devices)


def _task(entry: Mapping[str, Any]) -> TaskCosts:
    phases = {name: Paid(_number(cost, "flops"), _number(cost, "seconds")) for name, cost in entry["phases"].items()}
    parameters, stored = entry.get("parameters"), entry.get("stored_bytes") or {}
    kept = {kind: stored[kind] for kind in stored if kind != "checkpoint"}
    return TaskCosts(
        phases,
        None if parameters is None else int(_number(parameters, "total")),
        # what is not known of one kind is not known of the sum
        None if not kept or None in kept.values() else sum(int(_number(kept, kind)) for kind in kept),
        None if kept.get("memory") is None else int(_number(kept, "memory")),
    )


def _number(costs: Mapping[str, Any], key: str) -> float:
    """Return ``costs[key]``.

    Raises:
        ValueError: If it is no number, not finite or negative.
    """
    value = costs[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"'{key}' is {value!r}, where a number of at least 0 is expected")
    return float(value)
