"""The run folder: what a run leaves behind, written under temporary names and renamed; only the loop writes here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_utilities.core.rank_zero import rank_zero_only

from continual_df.data.frame_table import write_table
from continual_df.data.stream import Stream
from continual_df.errors import RunFolderError
from continual_df.task import Rows


class RunFolder:
    """Paths of a run and the writing of its files.

    Args:
        path: The folder ``runs/NAME``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def refuse_existing(self) -> None:
        """Refuse a folder that holds something; before the data set is read, which may take minutes.

        Raises:
            RunFolderError: If the folder exists already and is not empty.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunFolderError(
                f"The run folder '{self.path}' exists already: choose another --run_dir, or remove it first."
            )

    def create(self, config: str) -> None:
        """Make the folder and write ``config.yaml``.

        Raises:
            RunFolderError: If the folder exists already and is not empty.
        """
        self.refuse_existing()
        for name in ("predictions", "tasks"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self._write("config.yaml", lambda path: path.write_text(config, encoding="utf-8"))

    def write_stream(self, stream: Stream) -> None:
        """Write ``frames.parquet``, ``membership.parquet`` and ``stream.json``."""
        write_table(stream.table, self.path / "frames.parquet")
        self._write("membership.parquet", lambda path: stream.membership.to_parquet(path, index=False))
        self.write_json("stream.json", stream.describe())

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write ``content`` as JSON; NaN is refused, a missing number is null."""
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        self._write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def commit_task(
        self, number: int, predictions: pd.DataFrame, state: dict[str, Any] | None, memory: Rows | None
    ) -> None:
        """Write the predictions after task ``number`` and ``tasks/number``, whose renaming commits the task."""
        name = f"predictions/task_{number}.parquet"
        self._write(name, lambda path: predictions.to_parquet(path, index=False))
        if state is None:
            return
        with _renamed(self.path / "tasks" / str(number)) as folder:
            folder.mkdir()
            torch.save(state, folder / "checkpoint.ckpt")
            if memory is not None:
                columns = {column: values.numpy() for column, values in memory._asdict().items()}
                pd.DataFrame(columns).to_parquet(folder / "memory.parquet", index=False)

    def epochs(self, number: int) -> Path:
        """Return where checkpoints within task ``number`` are kept until the task is committed."""
        return self.path / "epochs" / str(number)

    def drop_epochs(self, number: int) -> None:
        """Remove the checkpoints within task ``number``: ``tasks/number`` holds what was chosen."""
        if is_writer() and self.epochs(number).exists():
            shutil.rmtree(self.epochs(number).parent)

    def discard_unstarted(self) -> None:
        """Remove the folder where nothing has been predicted: a run that failed before its first task leaves none."""
        predictions = self.path / "predictions"
        if is_writer() and predictions.is_dir() and not any(predictions.iterdir()):
            shutil.rmtree(self.path)

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        with _renamed(self.path / name) as path:
            write(path)


def is_writer() -> bool:
    """Return whether this process writes the run folder: the first of those that train together."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its name at the end, or is removed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        elif partial.exists():
            partial.unlink()
