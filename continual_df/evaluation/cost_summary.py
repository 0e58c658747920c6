"""What a run's row says of error against compute: values of every task as it was learnt, and what the learner took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from continual_df.evaluation.run_costs import BEFORE, RunCosts

OWN = {"auc": "own_auc", "acc": "own_acc", "top1": "own_top1"}
"""Metric -> column of its value on each task right after that task."""

BY_TASK = (*OWN.values(), "test_images", "task_flops")
"""Columns with a value for each task, joined by ``|``."""

COST_COLUMNS: dict[str, type[str | int | float]] = {
    **dict.fromkeys(BY_TASK, str),
    "pretrain_flops": float,
    "search_flops": float,
    "parameters": int,
    "stored_bytes": int,
    "cost_notes": str,
    "devices": str,
}
"""Column -> kind."""


def cost_columns(result: Mapping[str, Any], costs: RunCosts) -> dict[str, str | int | float | None]:
    """Return the columns of `COST_COLUMNS`, None or empty where not measured.

    ``own_auc``, ``own_acc`` and ``own_top1`` are the diagonals of the matrices; ``test_images`` the sizes of the test sets;
    ``task_flops`` what learning took in each task (all phases but ``validate``, ``predict`` and ``pretrain``).
    ``pretrain_flops`` and ``search_flops`` are those of these phases, of which the latter is part of ``train_flops``. ``parameters`` and ``stored_bytes`` are those after the
    last task, ``cost_notes`` sentences on what is not counted, ``devices`` what has trained, joined by ``|``.

    Args:
        result: Content of results.json.
        costs: Content of compute.json.
    """
    tasks = result["tasks"]
    own = {column: _diagonal(result["matrices"][metric]) for metric, column in OWN.items()}
    last = costs.tasks.get(len(tasks))
    knows_all = costs.schema > 1  # before, nobody asked what pretrained weights had cost
    return {
        **{
            column: "|".join("" if value is None else f"{value:.6f}" for value in values)
            for column, values in own.items()
        },
        "test_images": "|".join(str(task["num_real"] + task["num_fake"]) for task in tasks),
        "task_flops": "|".join(repr(float(flops)) for flops in costs.flops_by_task(len(tasks))[BEFORE + 1 :]),
        "pretrain_flops": costs.total(["pretrain"]).flops if knows_all else None,
        "search_flops": costs.total(["search"]).flops if knows_all else None,
        "parameters": last.num_parameters if last else None,
        "stored_bytes": last.stored_bytes if last else None,
        "cost_notes": " ".join(costs.notes),
        "devices": "|".join(costs.devices),
    }


def by_task(row: Mapping[str, Any], column: str) -> NDArray[np.float64]:
    """Return (T,) values of ``column``, one of `BY_TASK`; NaN where not measured.

    Raises:
        ValueError: If their number is not that of the tasks, or one is no finite number.
    """
    num_tasks, text = len(str(row["tasks"]).split("|")), str(row[column] or "")
    fields = text.split("|") if text else [""] * num_tasks
    if len(fields) != num_tasks:
        raise ValueError(f"{num_tasks} tasks, and {len(fields)} values in column '{column}'")
    values = np.array([float(field) if field else np.nan for field in fields])
    if not all(np.isfinite(value) for value, field in zip(values, fields, strict=True) if field):
        raise ValueError(f"column '{column}': finite numbers are expected, found '{text}'")
    return values


def _diagonal(matrix: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return the value of each task right after it."""
    return [row[task] for task, row in enumerate(matrix[1:])]
