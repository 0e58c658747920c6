"""The run folder: what a run leaves behind, written under temporary names and renamed; only the loop writes here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from continual_df import files, run_lock
from continual_df.checkpoint_file import load_checkpoint, save_checkpoint, verify_checkpoint
from continual_df.data.frame_table import write_table
from continual_df.data.stream import Stream
from continual_df.errors import CheckpointError, RunFolderError
from continual_df.files import remove, remove_unfinished, renamed

CHECKPOINT = "checkpoint.ckpt"


class RunFolder:
    """Paths of a run and the writing of its files.

    Args:
        path: The folder ``runs/NAME``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._created = False

    def refuse_existing(self) -> None:
        """Refuse a folder that holds something; before the data set is read, which may take minutes.

        Raises:
            RunFolderError: If the folder exists already and is not empty.
        """
        if not self.path.exists():
            return
        if (self.path / "config.yaml").is_file():
            raise RunFolderError(
                f"The run folder '{self.path}' exists already: choose another --run_dir, remove it first, or continue "
                f"its run with 'continual-df run --resume {self.path}'."
            )
        if not self.path.is_dir() or any(not _is_ours(file) for file in self.path.iterdir()):
            raise RunFolderError(
                f"The run folder '{self.path}' exists already: choose another --run_dir, or remove it first."
            )

    def refuse_missing(self) -> None:
        """Refuse to resume what is no run.

        Raises:
            RunFolderError: If there is no ``config.yaml``.
        """
        if not (self.path / "config.yaml").is_file():
            raise RunFolderError(
                f"'{self.path}' cannot be resumed: it holds no config.yaml. Name the folder of a run that has started."
            )

    def create(self, config: str) -> None:
        """Make the folder and write ``config.yaml``.

        Raises:
            RunFolderError: If the folder exists already and is not empty.
        """
        self.refuse_existing()
        self.remove_unfinished()
        self._created = True
        self._write("config.yaml", lambda path: path.write_text(config, encoding="utf-8"))

    def write_stream(self, stream: Stream) -> None:
        """Write ``frames.parquet``, ``membership.parquet`` and, last, ``stream.json``."""
        write_table(stream.table, self.path / "frames.parquet")
        self._write("membership.parquet", lambda path: stream.membership.to_parquet(path, index=False))
        self.write_json("stream.json", stream.describe())

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write ``content`` as JSON; NaN is refused, a missing number is null."""
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        self._write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of a JSON file.

        Raises:
            RunFolderError: If it is none.
        """
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"'{self.path / name}' cannot be read ({error}). Restore the file.") from error
        return content

    def commit_task(
        self,
        number: int,
        predictions: pd.DataFrame,
        state: dict[str, Any] | None,
        memory: Mapping[str, Tensor] | None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the predictions after task ``number`` and ``tasks/number``, whose renaming commits the task.

        Args:
            number: The number of tasks trained.
            predictions: One row an image.
            state: The checkpoint; None where only the predictions are to be written.
            memory: Columns of ``memory.parquet``, one entry a remembered image: its row, and what is kept beside it.
            notes: File name -> content of further JSON files.
        """
        name = f"predictions/task_{number}.parquet"
        self._write(name, lambda path: predictions.to_parquet(path, index=False))
        if state is None:
            return
        with renamed(self.path / "tasks" / str(number)) as folder:
            folder.mkdir()
            save_checkpoint(state, folder / CHECKPOINT)
            if memory is not None:
                arrays = {column: values.numpy() for column, values in memory.items()}
                columns = {column: list(array) if array.ndim > 1 else array for column, array in arrays.items()}
                pd.DataFrame(columns).to_parquet(folder / "memory.parquet", index=False)
            for name, content in (notes or {}).items():
                (folder / name).write_text(json.dumps(content) + "\n", encoding="utf-8")

    def last_task(self) -> int:
        """Return the number of the last task that is committed, 0 before the first."""
        numbers = [int(path.name) for path in (self.path / "tasks").glob("*") if path.name.isdigit()]
        return max(numbers, default=0)

    def load_task(self, number: int) -> dict[str, Any]:
        """Return the checkpoint of ``tasks/number``.

        Raises:
            CheckpointError: If it is damaged, naming the one before.
        """
        path = self.checkpoint(number)
        self._verify(path, f"Remove the folder '{path.parent}' to continue from {self._before(number)}.")
        return load_checkpoint(path)

    def checkpoint(self, number: int) -> Path:
        """Return the checkpoint of ``tasks/number``."""
        return self.path / "tasks" / str(number) / CHECKPOINT

    def has_predictions(self, number: int) -> bool:
        """Return whether the predictions after task ``number`` are there."""
        return (self.path / "predictions" / f"task_{number}.parquet").is_file()

    def step(self, number: int, step: int) -> Path:
        """Return the checkpoint within task ``number`` before optimizer step ``step`` (from 0)."""
        return self._steps(number) / f"step_{step:09d}.ckpt"

    def fitted(self, number: int) -> Path:
        """Return the checkpoint of task ``number`` when its training has ended and nothing has been selected."""
        return self._steps(number) / "fitted.ckpt"

    def search(self, number: int) -> Path:
        """Return the checkpoint of the search in task ``number``."""
        return self._steps(number) / "search.ckpt"

    def steps(self, number: int) -> list[Path]:
        """Return the checkpoints within task ``number``, the oldest first."""
        found = [path for path in self._steps(number).glob("step_*.ckpt") if re.fullmatch(r"step_\d+", path.stem)]
        return sorted(found)

    def verify_step(self, path: Path, number: int) -> None:
        """Refuse a damaged checkpoint within task ``number``.

        Raises:
            CheckpointError: Naming the one before.
        """
        steps = [step for step in self.steps(number) if step != path]
        before = f"'{steps[-1]}'" if steps else self._before(number)
        self._verify(path, f"Remove it to continue from {before}.")

    def keep_steps(self, number: int, count: int) -> None:
        """Remove all but the last ``count`` checkpoints within task ``number``."""
        for path in self.steps(number)[:-count]:
            remove(path)

    def epochs(self, number: int) -> Path:
        """Return where the YAML's ModelCheckpoints write within task ``number``."""
        return self.path / "epochs" / str(number)

    def drop_within(self, number: int) -> None:
        """Remove the checkpoints within tasks up to ``number``: ``tasks/number`` holds what they led to."""
        for parent in (self.path / "epochs", self.path / "steps"):
            for done in range(1, number + 1):
                remove(parent / str(done))
            if parent.is_dir() and not any(parent.iterdir()):
                remove(parent)

    def remove_unfinished(self) -> None:
        """Remove what a killed process has left half-written."""
        remove_unfinished(self.path)

    def discard_unstarted(self) -> None:
        """Remove the folder that this process has made, if nothing was predicted: a run that failed so early leaves none."""
        if self._created and not self.has_predictions(0) and not self.last_task():
            remove(self.path)

    def _steps(self, number: int) -> Path:
        return self.path / "steps" / str(number)

    def _before(self, number: int) -> str:
        """Return, in words, what task ``number`` begins with."""
        return f"'{self.path / 'tasks' / str(number - 1)}'" if number > 1 else "the beginning of the stream"

    def _verify(self, path: Path, advice: str) -> None:
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            raise CheckpointError(f"{error} {advice}") from error

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        with renamed(self.path / name) as path:
            write(path)


def _is_ours(file: Path) -> bool:
    """Return whether ``file`` is all that a run leaves that was killed before it had begun."""
    return file.name == run_lock.NAME or (file.name.startswith(files.MARK) and file.name.endswith("-config.yaml"))
