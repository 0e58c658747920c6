"""``metrics.csv``: what a fit logs, one value a row, each row with its task."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

from continual_df.errors import RunFolderError, WriteError

COLUMNS = ("task", "epoch", "step", "metric", "value")


class MetricsLog(Logger):
    """Append logged values to a CSV file; Lightning's CSVLogger would delete the file of an interrupted run.

    Args:
        path: The file.

    Attributes:
        task: Number of the task (from 1) that the next rows belong to; the loop sets it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.task = path, 0
        self._rewound: int | None = None

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """Number of the task."""
        return f"task_{self.task}"

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Do nothing: ``config.yaml`` is the recipe."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row per value."""
        epoch = metrics.get("epoch", "")
        rows = [(self.task, epoch, step, name, value) for name, value in metrics.items() if name != "epoch"]
        with self._writing():
            self._forget()
            new = not self.path.exists()
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if new:
                    writer.writerow(COLUMNS)
                writer.writerows(rows)

    def length(self) -> int:
        """Return the bytes written so far, once they are on the disk: a saved state names them.

        Raises:
            WriteError: If the disk refuses.
        """
        with self._writing():
            self._forget()
            if not self.path.exists():
                return 0
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
        return self.path.stat().st_size

    def rewind(self, length: int) -> None:
        """Go back to where the file had ``length`` bytes; the rest is forgotten when something new is logged.

        Not before: a later state, to be loaded next, may need it.

        Raises:
            RunFolderError: If the file is shorter.
        """
        there = self.path.stat().st_size if self.path.exists() else 0
        if there < length:
            raise RunFolderError(
                f"'{self.path}' has {there} bytes, but the state to resume from was saved when it had {length}: restore it."
            )
        self._rewound = length

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(self.path, error) from error

    @rank_zero_only
    def _forget(self) -> None:
        if self._rewound is not None and self.path.exists():
            os.truncate(self.path, self._rewound)
            if not self._rewound:
                self.path.unlink()  # the header is written with the first row
        self._rewound = None
