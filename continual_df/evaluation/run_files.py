"""What a run folder holds for evaluation: frame table, membership, tasks and predictions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
from numpy.typing import NDArray

from continual_df.errors import RunFolderError

FILES = ("frames.parquet", "membership.parquet", "stream.json")


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
        path = self.predictions[row]
        table = _read_parquet(path, ["sample", "logit_fake"])
        sample = table["sample"].to_numpy(dtype=np.int64)
        if len(np.unique(sample)) < len(sample):
            twice = int(table["sample"][table["sample"].duplicated()].iloc[0])
            raise RunFolderError(f"{path}: sample {twice} is predicted more than once. Predict the task again.")
        if len(sample) and (sample.min() < 0 or sample.max() >= len(self.frame)):
            raise RunFolderError(
                f"{path}: samples {sample.min()}..{sample.max()} do not fit the {len(self.frame)} rows of "
                "frames.parquet. The files are of different runs; restore the right one."
            )
        logit = np.full(len(self.frame), np.nan)
        logit[sample] = table["logit_fake"].to_numpy(dtype=np.float64, na_value=np.nan)
        # half precision can overflow; the largest finite value keeps the image at its end of the ranking
        limit = float(np.finfo(np.float32).max)
        clipped: NDArray[np.float64] = np.clip(logit, -limit, limit)
        return clipped


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
