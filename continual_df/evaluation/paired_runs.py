"""The predictions of several runs on the same test images, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from continual_df.errors import RunFolderError
from continual_df.evaluation.bootstrap import LabelledSet
from continual_df.evaluation.image_sets import task_sets
from continual_df.evaluation.run_files import read_run


@dataclass(frozen=True)
class PairedRuns:
    """What `continual_df.evaluation.bootstrap.paired_bootstrap` takes.

    Attributes:
        sets: The test set of every task.
        scores: For each method, for each of its runs, the logits after the last task of every set.
        num_dropped: Images that some run has not predicted, and that are left out of all.
    """

    sets: list[LabelledSet]
    scores: dict[str, list[list[NDArray[np.float64]]]]
    num_dropped: int


@dataclass(frozen=True)
class _TestSet:
    """One test set of one run, its images in the order of their paths; all (N,)."""

    path: NDArray[np.object_]
    label: NDArray[np.int64]
    group: NDArray[np.object_]
    logit: NDArray[np.float64]


def read_paired(runs: Mapping[str, Sequence[Path]]) -> PairedRuns:
    """Return the predictions after the last task of finished runs on one stream, paired by the images' paths.

    Args:
        runs: The runs of every method.

    Raises:
        RunFolderError: If runs disagree about the test images, their labels or groups, or a file is broken.
    """
    found = {name: [(run, _test_sets(run)) for run in each] for name, each in runs.items()}
    everything = [pair for each in found.values() for pair in each]
    first, reference = everything[0]
    for run, tests in everything[1:]:
        for number, (test, other) in enumerate(zip(tests, reference, strict=True), start=1):
            for what in ("path", "label", "group"):
                if not np.array_equal(getattr(test, what), getattr(other, what)):
                    raise RunFolderError(
                        f"'{run}' and '{first}' do not agree on the {what} of the test images of task {number}, so they "
                        "cannot be paired. Compare them apart."
                    )
    kept = [
        ~np.isnan(np.stack([tests[at].logit for _, tests in everything])).any(axis=0) for at in range(len(reference))
    ]
    sets = [LabelledSet(test.label[keep], test.group[keep]) for test, keep in zip(reference, kept, strict=True)]
    scores = {
        name: [[test.logit[keep] for test, keep in zip(tests, kept, strict=True)] for _, tests in each]
        for name, each in found.items()
    }
    dropped = [test.path[~keep] for test, keep in zip(reference, kept, strict=True)]
    return PairedRuns(sets, scores, len(set(np.concatenate(dropped).tolist())))


def _test_sets(run: Path) -> list[_TestSet]:
    """Return the test set of every task with the logits after the last one."""
    files = read_run(run)
    logit = files.logits(len(files.tasks))
    if "path" not in files.frame:
        raise RunFolderError(f"{run / 'frames.parquet'}: column 'path' is missing. Restore the file.")
    path, group = (files.frame[column].to_numpy(dtype=object) for column in ("path", "group"))
    found = []
    for test in task_sets(files):
        order = np.argsort(path[test.sample].astype(str), kind="stable")
        sample = test.sample[order]
        found.append(_TestSet(path[sample], test.label[order], group[sample], logit[sample]))
    return found
