"""Validation error against compute inside each task, as a run's ``metrics.csv`` has logged them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continual_df.errors import RunFolderError

SCORE = "val/auc"
FLOPS = "compute/flops"


class ValidationCurve(NamedTuple):
    """The validations of one task, in order.

    Attributes:
        flops_E: FLOPs that the run had spent to learn by then, over all tasks, without pretraining.
        error_E: 1 - AUC on the task's validation images.
    """

    flops_E: NDArray[np.float64]
    error_E: NDArray[np.float64]


def read_validation_curves(run: Path) -> dict[int, ValidationCurve]:
    """Return the curve of every task, by its number; none where the run has not logged both scores and FLOPs.

    Of a task that was searched, the log has the validations of the best trial.

    Raises:
        RunFolderError: If the file is broken, or FLOPs fall within a task.
    """
    path = run / "metrics.csv"
    if not path.is_file():
        return {}
    try:
        log = pd.read_csv(path, usecols=["task", "epoch", "step", "metric", "value"])
    except (OSError, ValueError) as error:  # pandas' own errors derive from the latter
        raise RunFolderError(f"{path}: cannot be read ({' '.join(str(error).split())}). Restore the file.") from None
    score, flops = (log[log["metric"] == name].drop(columns="metric") for name in (SCORE, FLOPS))
    both = score.merge(flops, on=["task", "epoch", "step"], suffixes=("_score", "_flops"))
    curves = {}
    for number, rows in both.groupby("task"):
        curve = ValidationCurve(rows["value_flops"].to_numpy(np.float64), 1 - rows["value_score"].to_numpy(np.float64))
        if (np.diff(curve.flops_E) < 0).any():
            raise RunFolderError(f"{path}: '{FLOPS}' falls within task {number}. Restore the file.")
        curves[int(number)] = curve
    return curves
