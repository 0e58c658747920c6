"""Which images a cell of a matrix is measured on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from continual_df.evaluation.run_files import RunFiles
from continual_df.labels import REAL_METHOD

CONTROL_PREFIX = "null_"
HELD_OUT = -1
"""Task of images that belong to no task."""


class ImageSet(NamedTuple):
    """Images to tell apart.

    Attributes:
        name: Task or method.
        sample: (N,) rows of the frame table, ascending.
        label: (N,) 1 for the side to be detected, 0 for reals. Equals the frame table's label but for controls, which
            are real images that stand on the side of the fakes.
    """

    name: str
    sample: NDArray[np.int64]
    label: NDArray[np.int64]

    @property
    def key(self) -> bytes:
        """The same for sets of the same images on the same sides, whatever their names."""
        return self.sample.tobytes() + self.label.tobytes()


def task_sets(files: RunFiles) -> list[ImageSet]:
    """Return the test set of every task: the fakes and the reals that are members of it; controls are left out."""
    return [_make(files, task["name"], _members(files, "test", index), None) for index, task in enumerate(files.tasks)]


def validation_set(files: RunFiles, num_tasks: int) -> ImageSet:
    """Return the validation images of the first ``num_tasks`` tasks, each once however many tasks it belongs to."""
    samples = [_members(files, "val", index) for index in range(num_tasks)]
    return _make(files, "validation", np.concatenate([np.empty(0, dtype=np.int64), *samples]), None)


def method_sets(files: RunFiles) -> dict[str, ImageSet]:
    """Return for every method its test images against the reals that they compare with.

    For a method of a task these are the reals of its task (or tasks). A held-out method or a control belongs to no
    task's fakes: it stands against the test reals of its own groups, its untouched twins among them. Where some of
    its groups have no real, it stands against those of its ``source``, so that no image is left without a comparison.
    """
    method = files.classes.to_numpy(dtype=object).astype(str)
    tests = files.membership[files.membership["split"] == "test"]
    member, task = tests["sample"].to_numpy(dtype=np.int64), tests["task"].to_numpy(dtype=np.int64)
    real = np.unique(member[method[member] == REAL_METHOD])
    names = [name for entry in files.tasks for name in [*entry["methods"], *entry.get("unlabelled", [])]]
    present = sorted(set(method[member]) - {REAL_METHOD} - set(names))
    found = {}
    for name in [*dict.fromkeys(names), *present]:
        own = member[method[member] == name]
        homes = np.unique(task[method[member] == name])
        if is_control(name) or (homes == HELD_OUT).all():
            reals = _related(files, own, real)
        else:
            reals = member[np.isin(task, homes) & (method[member] == REAL_METHOD)]
        found[name] = _make(files, name, np.concatenate([own, reals]), name)
    return found


def is_control(method: str) -> bool:
    """Return whether ``method`` names a control: real images that were only encoded or resampled again."""
    return method.startswith(CONTROL_PREFIX)


def _members(files: RunFiles, split: str, task: int) -> NDArray[np.int64]:
    """Return the samples of one split of one task, without controls."""
    table = files.membership
    chosen = (table["split"] == split) & (table["task"] == task)
    sample: NDArray[np.int64] = table["sample"][chosen].to_numpy(dtype=np.int64)
    method = files.frame["method"].iloc[sample].astype(str)
    others: NDArray[np.int64] = sample[~method.str.startswith(CONTROL_PREFIX).to_numpy(dtype=bool)]
    return others


def _related(files: RunFiles, own: NDArray[np.int64], real: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the reals of the groups of ``own`` if each group has one, else those of its source, else what there is."""
    group, source = files.frame["group"], files.frame["source"]
    wanted = group.iloc[own].unique()
    paired: NDArray[np.int64] = real[group.iloc[real].isin(wanted).to_numpy(dtype=bool)]
    if len(paired) and group.iloc[paired].nunique() == len(wanted):
        return paired
    same: NDArray[np.int64] = real[source.iloc[real].isin(source.iloc[own].unique()).to_numpy(dtype=bool)]
    return same if len(same) else paired


def _make(files: RunFiles, name: str, sample: NDArray[np.int64], positive: str | None) -> ImageSet:
    """Return the set of the distinct ``sample``s; images of method ``positive`` count as fake whatever their label."""
    sample = np.unique(sample)
    label = files.frame["label"].to_numpy(dtype=np.int64)[sample]
    if positive is not None:
        label = (files.classes.iloc[sample] == positive).to_numpy(dtype=np.int64)
    return ImageSet(name, sample, label)
