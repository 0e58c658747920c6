"""Runs of one method on one stream that differ in their seed only: what one panel or line shows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunGroup:
    """Results of S runs with the same tasks.

    Attributes:
        name: Name of the method.
        stream: Name of the stream.
        results: Contents of each run's results.json.
        folders: Folder of each run, where its other files are wanted.
    """

    name: str
    stream: str
    results: list[dict[str, Any]]
    folders: list[Path] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks in order."""
        return [task["name"] for task in self.results[0]["tasks"]]

    def matrices(self, metric: str) -> NDArray[np.float64]:
        """Return (S, T + 1, T), NaN for what was not measured."""
        return np.array([result["matrices"][metric] for result in self.results], dtype=np.float64)

    def mean_matrix(self, metric: str) -> NDArray[np.float64]:
        """Return (T + 1, T): the mean over those runs in which a cell was measured."""
        return mean_measured(self.matrices(metric))


def mean_measured(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of what is not NaN; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        mean: NDArray[np.float64] = np.nanmean(values, axis=0)
    return mean


def deviation_measured(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation (n - 1) over the first axis of what is not NaN; NaN for fewer than two."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Degrees of freedom", RuntimeWarning)
        deviation: NDArray[np.float64] = np.nanstd(values, axis=0, ddof=1)
    return deviation
