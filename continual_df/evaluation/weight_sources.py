"""Where the weights came from with which a method started each task, as ``tasks/K/source.json`` says."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from continual_df.errors import RunFolderError
from continual_df.evaluation.run_files import read_json

START = 0
"""Number that stands for the weights with which the method began the stream."""


class WeightSource(NamedTuple):
    """The start of one task.

    Attributes:
        source: Number of the earlier task whose weights were taken, or `START`.
        accuracy: Accuracy of the nearest neighbours among each candidate's features, by its number; empty without a choice.
    """

    source: int
    accuracy: dict[int, float]


def read_weight_sources(run: Path, num_tasks: int) -> dict[int, WeightSource]:
    """Return the start of every task that has a file of it, by the task's number.

    Raises:
        RunFolderError: If a file is broken, or names a source that does not come before its task.
    """
    found = {}
    for number in range(1, num_tasks + 1):
        path = run / "tasks" / str(number) / "source.json"
        if not path.is_file():
            continue
        content = read_json(path)
        try:
            accuracy = {int(candidate): float(value) for candidate, value in content["accuracy"].items()}
            start = WeightSource(int(content["source"]), accuracy)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunFolderError(
                f"{path}: 'source' and 'accuracy' are expected ({error!r}). Restore the file."
            ) from None
        if not all(START <= candidate < number for candidate in (start.source, *accuracy)):
            raise RunFolderError(f"{path}: names a task that does not come before task {number}. Restore the file.")
        found[number] = start
    return found
