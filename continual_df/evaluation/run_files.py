"""What a run folder holds for evaluation: frame table, membership, tasks and predictions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from continual_df.class_names import class_names
from continual_df.errors import RunFolderError

FILES = ("frames.parquet", "membership.parquet", "stream.json")

HEAD = "logit_method_"
"""Prefix of the columns with the logits of the heads: those of class ids first, then clusters."""


class HeadLogits(NamedTuple):
    """What a method says about which method made an image: M images, K heads.

    Attributes:
        sample_M: Rows of the frame table; images without a prediction, NaN in a head, are left out.
        logit_MK: Logits.
        novelty_M: The method's own novelty score, higher is more novel; None where it has none.
    """

    sample_M: NDArray[np.int64]
    logit_MK: NDArray[np.float64]
    novelty_M: NDArray[np.float64] | None


@dataclass
class RunFiles:
    """The files of a run, read.

    Attributes:
        frame: The frame table; its index is ``sample``.
        membership: Columns ``sample``, ``task`` (-1 for what belongs to no task) and ``split``.
        stream: ``stream.json``.
        predictions: Files of predictions by the number of tasks trained.
    """

    frame: pd.DataFrame
    membership: pd.DataFrame
    stream: dict[str, Any]
    predictions: dict[int, Path]

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """Tasks of the stream in order; the position is the column of every matrix."""
        return list(self.stream["tasks"])

    def logits(self, row: int) -> NDArray[np.float64]:
        """Return (N,) logits of P(fake) after ``row`` tasks; NaN for images without a prediction.

        Raises:
            RunFolderError: If the file cannot be read, lacks a column, or names a sample twice or one out of range.
        """
        table = self._read_predictions(row, ["logit_fake"])
        logit = np.full(len(self.frame), np.nan)
        logit[table["sample"]] = table["logit_fake"].to_numpy(dtype=np.float64, na_value=np.nan)
        return _finite(logit)

    def head_logits(self, row: int) -> HeadLogits | None:
        """Return the logits of the heads after ``row`` tasks; None where the method attributes nothing.

        Raises:
            RunFolderError: As `logits`, or if the columns of the heads are not numbered from 0 on.
        """
        path = self.predictions[row]
        columns = _column_names(path)
        numbers = sorted(int(name.removeprefix(HEAD)) for name in columns if re.fullmatch(rf"{HEAD}\d+", name))
        if not numbers:
            return None
        if numbers != list(range(len(numbers))):
            raise RunFolderError(
                f"{path}: columns {HEAD}* must be numbered from 0 on, got {numbers}. Predict the task again."
            )
        heads = [f"{HEAD}{number}" for number in numbers]
        own = [name for name in ("novelty",) if name in columns]
        table = self._read_predictions(row, [*heads, *own]).dropna(subset=[*heads, *own])
        novelty_M = _finite(table["novelty"].to_numpy(dtype=np.float64)) if own else None
        logit_MK = _finite(table[heads].to_numpy(dtype=np.float64))
        return HeadLogits(table["sample"].to_numpy(dtype=np.int64), logit_MK, novelty_M)

    @cached_property
    def matches(self) -> dict[str, int]:
        """By class that was named so far, the head, as numbered before, of the cluster that it was found to be.

        Raises:
            RunFolderError: If the file is no JSON object.
        """
        last = max(self.predictions)
        path = self.predictions[last].parents[1] / "tasks" / str(last) / "matches.json"
        return {name: int(head) for name, head in read_json(path).items()} if path.is_file() else {}

    @cached_property
    def classes(self) -> pd.Series:
        """The class of every row of the frame table, as the stream names it."""
        tasks = [name for task in self.tasks for name in (*task["methods"], *task.get("unlabelled", []))]
        return class_names(self.frame, [*tasks, *self.stream.get("held_out", [])])

    def _read_predictions(self, row: int, columns: list[str]) -> pd.DataFrame:
        """Return ``sample`` and ``columns`` of the predictions after ``row`` tasks."""
        path = self.predictions[row]
        table = _read_parquet(path, ["sample", *columns])
        sample = table["sample"].to_numpy(dtype=np.int64)
        if len(np.unique(sample)) < len(sample):
            twice = int(table["sample"][table["sample"].duplicated()].iloc[0])
            raise RunFolderError(f"{path}: sample {twice} is predicted more than once. Predict the task again.")
        if len(sample) and (sample.min() < 0 or sample.max() >= len(self.frame)):
            raise RunFolderError(
                f"{path}: samples {sample.min()}..{sample.max()} do not fit the {len(self.frame)} rows of "
                "frames.parquet. The files are of different runs; restore the right one."
            )
        return table


def is_run(folder: Path) -> bool:
    """Return whether ``folder`` is a run folder, finished or not."""
    return (folder / "stream.json").is_file()


def prediction_files(run: Path) -> dict[int, Path]:
    """Return the files of predictions in ``run`` by the number of tasks trained, in order."""
    found = {}
    for path in (run / "predictions").glob("task_*.parquet"):
        if match := re.fullmatch(r"task_(\d+)", path.stem):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def read_run(run: Path) -> RunFiles:
    """Read the files of ``run`` that evaluation needs.

    Raises:
        RunFolderError: If it is no run folder, or a file is missing, unreadable or contradicts another.
    """
    if not run.is_dir():
        raise RunFolderError(f"'{run}' is not a folder. Give the folder of a run, such as runs/quickstart/replay.")
    missing = [name for name in FILES if not (run / name).is_file()]
    if missing:
        raise RunFolderError(f"'{run}' is no run folder: {', '.join(missing)} missing. Give a folder that 'run' wrote.")
    frame = _read_parquet(run / "frames.parquet", ["label", "method", "source", "group"], everything=True)
    membership = _read_parquet(run / "membership.parquet", ["sample", "task", "split"])
    stream = read_json(run / "stream.json")
    if not stream.get("tasks"):
        raise RunFolderError(f"{run / 'stream.json'}: the key 'tasks' is missing or empty. Restore the file.")
    predictions = prediction_files(run)
    if not predictions:
        raise RunFolderError(f"'{run}' has no predictions yet. Train at least the first task, then try again.")
    num_tasks = len(stream["tasks"])
    if max(predictions) > num_tasks:
        raise RunFolderError(
            f"{predictions[max(predictions)]}: the stream has {num_tasks} tasks only. "
            "The files are of different runs; restore the right one."
        )
    wrong = membership[(membership["sample"] < 0) | (membership["sample"] >= len(frame))]
    if len(wrong):
        raise RunFolderError(
            f"{run / 'membership.parquet'}: sample {wrong['sample'].iloc[0]} is not among the {len(frame)} rows of "
            "frames.parquet. The files are of different runs; restore the right one."
        )
    return RunFiles(frame.reset_index(drop=True), membership, stream, predictions)


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a run.

    Raises:
        RunFolderError: If it is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: not JSON ({error}). Restore the file.") from None
    if not isinstance(content, dict):
        raise RunFolderError(f"{path}: an object is expected, found {type(content).__name__}. Restore the file.")
    return content


def image_root(run: Path) -> Path:
    """Return the folder to which the paths of the run's frame table are relative.

    The absolute one that was stored when the run was written, or, where that has gone, the one relative to the run.
    """
    metadata = pyarrow.parquet.read_schema(run / "frames.parquet").metadata or {}
    absolute = Path(metadata.get(b"root", b"").decode())
    if b"root" in metadata and absolute.is_dir():
        return absolute
    relative: str = metadata.get(b"relative_root", b".").decode()
    return run / relative


def _finite(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return logits within the range of float32: half precision can overflow, and the image must keep its end of the ranking."""
    limit = float(np.finfo(np.float32).max)
    clipped: NDArray[np.float64] = np.clip(logit, -limit, limit)
    return clipped


def _column_names(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file, refusing one that is broken."""
    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these two
        raise RunFolderError(f"{path}: cannot be read ({error}). Restore the file.") from None


def _read_parquet(path: Path, columns: list[str], everything: bool = False) -> pd.DataFrame:
    """Read ``columns`` (or all) of a Parquet file, refusing one that is broken or lacks a column."""
    try:
        table = pd.read_parquet(path, columns=None if everything else columns)
    except (OSError, ValueError) as error:  # pyarrow's own errors derive from these two
        raise RunFolderError(f"{path}: cannot be read ({error}). Restore the file.") from None
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise RunFolderError(f"{path}: column '{absent[0]}' is missing. Restore the file.")
    return table
