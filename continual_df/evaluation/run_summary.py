"""One finished run as one flat row: what tables that outlive the runs are made of.

A row has the same columns whatever the stream, so that rows of all streams can stand in one CSV file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from continual_df.errors import RunFolderError
from continual_df.evaluation.attribution_summary import ATTRIBUTION, SOURCES, attribution_columns, parse_sources
from continual_df.evaluation.cost_summary import BY_TASK, COST_COLUMNS, by_task, cost_columns
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.results import load_results, stream_title
from continual_df.evaluation.run_costs import read_costs
from continual_df.evaluation.run_files import image_root, prediction_files, read_json

Row = dict[str, str | int | float | None]

SEPARATOR = "|"
"""Stands between the entries of ``tasks``, ``final_auc`` and the columns of `BY_TASK`."""

COLUMNS: dict[str, type[str | int | float]] = {
    "stream": str,
    "method": str,
    "seed": int,
    "average_auc": float,
    "forgetting": float,
    "bwt": float,
    "fwt": float,
    "average_incremental": float,
    "plasticity": float,
    "tasks": str,
    "final_auc": str,
    **dict.fromkeys(ATTRIBUTION, float),
    SOURCES: str,
    "memory_images": int,
    "memory_bytes": int,
    "train_flops": float,
    "train_seconds": float,
    **COST_COLUMNS,
    "stream_hash": str,
    "recipe": str,
    "run": str,
    "commit": str,
    "versions": str,
}
"""Column -> kind; what was not measured is None (empty for a text), and an empty field in a file."""

_LATER = {*ATTRIBUTION, SOURCES, *COST_COLUMNS}
"""Columns that files of earlier versions lack."""

_SUMMARIES = {
    "average_auc": "average",
    "forgetting": "forgetting",
    "bwt": "bwt",
    "fwt": "fwt",
    "average_incremental": "average_incremental",
    "plasticity": "plasticity",
}

_ROWS = ("sample", "label", "method", "task", "memory")
"""Columns of ``memory.parquet`` that name a remembered image, and which of several memories holds it; any others are values kept for it."""


def run_summary(run: Path) -> Row:
    """Return the row of a finished run, from its files alone; its keys are those of `COLUMNS`, in their order.

    ``average_auc``, ``forgetting``, ``bwt``, ``fwt``, ``average_incremental`` and ``plasticity`` are the summaries of the
    AUC matrix (`continual_df.evaluation.matrix`). ``tasks`` are the tasks' names and ``final_auc`` their AUC after the
    last task, six digits each, empty where not measured; both joined by `SEPARATOR` (a ``|`` in a name becomes ``/``).
    The columns after them are those of `attribution_columns`, for runs that met classes without a name.

    ``memory_images`` are the images in all replay memories after the last task, ``memory_bytes`` the sizes of their files on
    disk as the frame table names them, each image once, plus the values kept for each image, such as logits; where a file
    has gone, the bytes that ``compute.json`` noted after the last task. Weights, teachers and prototypes are not counted.

    ``train_flops`` and ``train_seconds`` are those of every phase and task but ``validate``, ``predict`` and ``pretrain``. The columns after them are those of `cost_columns`.

    ``recipe`` is equal for runs that differ in their seeds only, ``stream_hash`` for runs on the same images in the same
    tasks and splits; ``run`` is the name of the run's folder.

    Raises:
        RunFolderError: If the run is not finished, or its files are broken or contradict each other.
    """
    if lacking := what_is_missing(run):
        raise RunFolderError(f"'{run}' is not finished: {lacking}. Continue it with 'continual-df run --resume {run}'.")
    recipe, result = read_recipe(run), load_results(run)
    stream = read_json(run / "stream.json")
    if "hash" not in stream:
        raise RunFolderError(f"{run / 'stream.json'}: the key 'hash' is missing. Restore the file.")
    names = [str(task["name"]).replace(SEPARATOR, "/") for task in result["tasks"]]
    summary, final = result["summary"]["auc"], result["matrices"]["auc"][len(names)]
    images, num_bytes = memory_size(run, len(names))
    costs = read_costs(run)
    if num_bytes is None:
        num_bytes = costs.tasks[costs.last].memory_bytes
    flops, seconds = costs.total()
    row: Row = {
        "stream": stream_title(result),
        "method": recipe.method,
        "seed": recipe.seed,
        **{column: summary[key] for column, key in _SUMMARIES.items()},
        "tasks": SEPARATOR.join(names),
        "final_auc": SEPARATOR.join("" if value is None else f"{value:.6f}" for value in final),
        **attribution_columns(result),
        "memory_images": images,
        "memory_bytes": num_bytes,
        "train_flops": flops,
        "train_seconds": seconds,
        **cost_columns(result, costs),
        "stream_hash": str(stream["hash"]),
        "recipe": hashlib.blake2b(recipe.settings.encode(), digest_size=8).hexdigest(),
        "run": run.absolute().name,
        "commit": recipe.commit,
        "versions": recipe.versions,
    }
    assert list(row) == list(COLUMNS)
    return row


def what_is_missing(run: Path) -> str | None:
    """Return what ``run`` lacks to be finished, None if nothing.

    Raises:
        RunFolderError: If it is no run, or a file is broken.
    """
    num_tasks = len(_tasks(run / "stream.json"))
    done = max(prediction_files(run), default=0)
    if done < num_tasks:
        return f"{done} of {num_tasks} tasks are predicted"
    if not (run / "compute.json").is_file():
        return "it has no compute.json"
    counted = read_costs(run).last
    return f"compute.json ends with task {counted} of {num_tasks}" if counted < num_tasks else None


def memory_size(run: Path, number: int) -> tuple[int, int | None]:
    """Return images and bytes of the memory after task ``number``; see `run_summary` for what is counted.

    Raises:
        RunFolderError: If the file of the memory is broken or of another run.
    """
    path = run / "tasks" / str(number) / "memory.parquet"
    if not path.is_file():
        return 0, 0
    try:
        memory = pd.read_parquet(path)
        names = pd.read_parquet(run / "frames.parquet", columns=["path"])["path"].to_numpy(dtype=object)
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: cannot be read ({error}). Restore the file.") from None
    if "sample" not in memory or (len(memory) and not memory["sample"].between(0, len(names) - 1).all()):
        raise RunFolderError(f"{path}: its samples are not among the {len(names)} rows of frames.parquet. Restore it.")
    root = image_root(run)
    files = [root / name for name in names[memory["sample"].unique()]]
    if not all(file.is_file() for file in files):
        return len(memory), None
    values = [memory[column].to_numpy() for column in memory.columns if column not in _ROWS]
    kept = sum(np.asarray(value).nbytes for column in values for value in column)
    return len(memory), sum(file.stat().st_size for file in files) + kept


def read_summaries(path: Path) -> list[Row]:
    """Return the rows of a CSV file of `run_summary` rows; columns other than `COLUMNS` are left out.

    A file of an earlier version may lack the columns of attribution and of `cost_columns`: they were not measured.

    Raises:
        RunFolderError: With file, line and column of what is wrong.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            absent = [column for column in COLUMNS if column not in {*(lines.fieldnames or ()), *_LATER}]
            if absent:
                raise RunFolderError(f"{path}: column '{absent[0]}' is missing. Give a file that 'sweep' wrote.")
            return [_parse(path, lines.line_num, line) for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(f"{path}: cannot be read ({error}). Restore the file.") from None


def format_summaries(rows: Sequence[Row]) -> str:
    """Return ``rows`` as the text of a CSV file that `read_summaries` reads."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _parse(path: Path, number: int, line: dict[str | Any, Any]) -> Row:
    """Return one line of a CSV file as a row."""
    if None in line or None in line.values():  # what csv gives for fields too many, or too few
        raise RunFolderError(
            f"{path}: line {number} has other fields than the first line names. Remove or complete it."
        )
    row: Row = {}
    for column, kind in COLUMNS.items():
        text = line.get(column, "")
        row[column] = text if kind is str else _number(kind, text, path, number, column)
    tasks, final = str(row["tasks"]).split(SEPARATOR), str(row["final_auc"]).split(SEPARATOR)
    if len(tasks) != len(final):
        raise RunFolderError(
            f"{path}: line {number} has {len(tasks)} tasks and {len(final)} values in column 'final_auc'. Correct the line."
        )
    for value in final:
        _number(float, value, path, number, "final_auc")
    try:
        parse_sources(str(row[SOURCES]))
    except ValueError as error:
        raise RunFolderError(f"{path}: line {number}, column '{SOURCES}': {error}. Correct the line.") from None
    for column in BY_TASK:
        try:
            by_task(row, column)
        except ValueError as error:
            raise RunFolderError(f"{path}: line {number}: {error}. Correct the line.") from None
    return row


def _number(kind: type[str | int | float], text: str, path: Path, number: int, column: str) -> int | float | None:
    """Return the finite number in a field, None for an empty one."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (kind is int and not value.is_integer()):
        raise RunFolderError(
            f"{path}: line {number}, column '{column}': a number is expected, found {text!r}. Correct the line."
        )
    return int(value) if kind is int else value  # a program that saw gaps has written whole numbers as 7.0


def _tasks(path: Path) -> list[dict[str, Any]]:
    """Return the list ``tasks`` in a JSON file of a run."""
    tasks = read_json(path).get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise RunFolderError(f"{path}: the key 'tasks' is missing or empty. Restore the file.")
    return tasks
