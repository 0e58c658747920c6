"""``metrics.csv``: what a fit logs, one value a row, each row with its task."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers.logger import Logger

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
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(COLUMNS)
            writer.writerows(rows)
