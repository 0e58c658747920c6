"""The features that a finished run's models give the images of its stream, task by task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from continual_df.commands.run_models import RunModels
from continual_df.data.stream import HELD_OUT, Stream
from continual_df.evaluation.embedding_files import Embedding
from continual_df.evaluation.image_sets import is_control
from continual_df.memory import ReplayMemory
from continual_df.memory.diversity import memory_report
from continual_df.randomness import priority
from continual_df.task import Rows

SEED = 0
"""Seed of the sub-sample: not the run's, so that runs on one stream show the same images."""


def run_features(models: RunModels, split: str, max_rows: int) -> Iterator[tuple[Embedding, pd.DataFrame | None]]:
    """Yield the features after each finished task of the run, and what `memory_report` says of its memory.

    There are features of all tasks' rows in ``split`` and of the training rows of the tasks so far, at most ``max_rows``
    of each domain (task x real or fake), of all remembered rows, and of the rows in ``split`` that belong to no task and are no
    controls, at most as many of each method. The report is on all training rows of the task that
    has just ended, and None where nothing is remembered.

    Args:
        models: The run.
        split: ``test`` or ``val``.
        max_rows: The largest number of rows of a domain.
    """
    stream = models.stream
    for number in range(1, models.folder.last_task() + 1):
        method = models.method(number)
        kept = getattr(method, "memory", None)
        memory = kept.rows if isinstance(kept, ReplayMemory) else Rows.empty()
        parts = [_rows(stream, task, split, max_rows, Rows.empty()) for task in (*range(len(stream.tasks)), HELD_OUT)]
        parts += [_rows(stream, task, "train", max_rows, memory) for task in range(number)]
        rows = pd.concat(parts, ignore_index=True)
        ended = stream.rows(number - 1, "train") if memory.num else Rows.empty()  # all of them, for the report alone
        wanted = np.union1d(rows["sample"].to_numpy(), ended.sample.numpy())
        sample = torch.from_numpy(wanted)
        unlabelled = torch.full_like(sample, -1)
        extract = models.extraction(method)
        feature_SD = extract(Rows(sample, unlabelled, unlabelled, unlabelled), ("features",))["features"]
        direction_HD = method.decision_directions().float().cpu().numpy()
        feature_ND = feature_SD.numpy()[np.searchsorted(wanted, rows["sample"].to_numpy())]
        report = None
        if memory.num:
            report = memory_report(feature_SD[torch.searchsorted(sample, ended.sample)], ended, _in(ended, memory))
        yield Embedding(number, rows, feature_ND, direction_HD), report


def _rows(stream: Stream, task: int, split: str, max_rows: int, memory: Rows) -> pd.DataFrame:
    """Return the rows of ``task``, or of none, in ``split`` that are drawn or in ``memory``."""
    rows = stream.rows(task, split)
    frame = pd.DataFrame({name: getattr(rows, name).numpy() for name in ("sample", "task", "label")})
    frame["method"] = stream.table.frame["method"].to_numpy()[frame["sample"]]
    frame["split"] = split
    order = pd.Series(priority(SEED, frame["sample"].to_numpy()))
    alike = frame["method" if task == HELD_OUT else "label"]
    frame["drawn"] = order.groupby(alike).rank(method="first") <= max_rows
    frame["in_memory"] = _in(rows, memory).numpy()
    controls = (task == HELD_OUT) & frame["method"].map(is_control).astype(bool)
    return frame[(frame["drawn"] | frame["in_memory"]) & ~controls]


def _in(rows: Rows, memory: Rows) -> Tensor:
    """Return (N,) whether each of the rows of one task is remembered under that task."""
    remembered: Tensor = torch.isin(rows.sample, memory.sample[torch.isin(memory.task, rows.task)])
    return remembered
