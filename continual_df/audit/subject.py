"""What is audited: the stream that a run has realised, or a frame table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from continual_df.data.frame_table import FrameTable, read_table
from continual_df.evaluation.run_files import RunFiles, read_run


@dataclass(frozen=True)
class Subject:
    """Images with the tasks and splits in which they are used.

    Attributes:
        name: Name of the run or the table.
        table: Frame table.
        members: Columns ``sample``, ``task`` (-1 for none) and ``split`` (train, val, test, or empty where a table has
            none). Images without a label count as train: the detector sees them while it is trained.
        tasks: Names of the tasks.
        files: The run's files; None for a table.
    """

    name: str
    table: FrameTable
    members: pd.DataFrame
    tasks: tuple[str, ...] = ()
    files: RunFiles | None = None

    @property
    def samples(self) -> np.ndarray:
        """The images that are used, each once and sorted."""
        return np.unique(self.members["sample"].to_numpy(dtype=np.int64))

    @property
    def labelled_train(self) -> np.ndarray:
        """The training images whose labels the run has used, each once and sorted; none for a table."""
        if self.files is None:
            return np.empty(0, dtype=np.int64)
        members = self.files.membership
        return np.unique(members.loc[members["split"] == "train", "sample"].to_numpy(dtype=np.int64))

    def rows(self) -> pd.DataFrame:
        """Return one row an image and split, tasks left out: the frame's columns and ``sample``, ``split``."""
        pairs = self.members[["sample", "split"]].drop_duplicates()
        frame = self.table.frame.loc[pairs["sample"]].reset_index(drop=True)
        return frame.assign(sample=pairs["sample"].to_numpy(), split=pairs["split"].to_numpy())


def of_run(run: Path) -> Subject:
    """Return the realised stream of the run in folder ``run``.

    Raises:
        RunFolderError: If it is no run folder, or a file of it is broken.
    """
    files = read_run(run)
    members = files.membership.assign(split=files.membership["split"].replace("unlabelled", "train"))
    tasks = tuple(str(task["name"]) for task in files.tasks)
    return Subject(run.absolute().name, read_table(run / "frames.parquet"), members, tasks, files)


def of_table(name: str, table: FrameTable) -> Subject:
    """Return all images of ``table`` as they are split there."""
    frame = table.frame
    split = frame["split"] if "split" in frame.columns else pd.Series("", index=frame.index, dtype=object)
    members = pd.DataFrame({"sample": np.arange(len(frame)), "task": -1, "split": split})
    return Subject(name, replace(table, frame=frame.assign(split=split)), members)
