"""The features that a finished run's models give the images of its stream, task by task."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from continual_df.commands.stream_cli import StreamCLI
from continual_df.data.stream import Stream
from continual_df.evaluation.embedding_files import Embedding
from continual_df.extraction import Extraction
from continual_df.memory import ReplayMemory
from continual_df.memory.diversity import memory_report
from continual_df.randomness import priority
from continual_df.run_folder import RunFolder
from continual_df.stop_signals import StopSignals
from continual_df.task import Rows

SEED = 0
"""Seed of the sub-sample: not the run's, so that runs on one stream show the same images."""


def run_features(
    cli: StreamCLI, folder: RunFolder, signals: StopSignals, split: str, max_rows: int
) -> Iterator[tuple[Embedding, pd.DataFrame | None]]:
    """Yield the features after each finished task of the run in ``folder``, and what `memory_report` says of its memory.

    There are features of all tasks' rows in ``split`` and of the training rows of the tasks so far, at most ``max_rows``
    of each domain (task x real or fake), and of all remembered rows. The report is on all training rows of the task that
    has just ended, and None where nothing is remembered.

    Args:
        cli: The run's settings; its method as it was first built.
        folder: The run.
        signals: Asked where a prediction fails.
        split: ``test`` or ``val``.
        max_rows: The largest number of rows of a domain.
    """
    stream = cli.datamodule.stream
    for number in range(1, folder.last_task() + 1):
        method = copy.deepcopy(cli.model)  # `restore` grows what a method of earlier tasks has grown already
        method.restore(stream.tasks[:number], folder.load_task(number)["state_dict"])
        kept = getattr(method, "memory", None)
        memory = kept.rows if isinstance(kept, ReplayMemory) else Rows.empty()
        parts = [_rows(stream, task, split, max_rows, Rows.empty()) for task in range(len(stream.tasks))]
        parts += [_rows(stream, task, "train", max_rows, memory) for task in range(number)]
        rows = pd.concat(parts, ignore_index=True)
        ended = stream.rows(number - 1, "train") if memory.num else Rows.empty()  # all of them, for the report alone
        wanted = np.union1d(rows["sample"].to_numpy(), ended.sample.numpy())
        sample = torch.from_numpy(wanted)
        unlabelled = torch.full_like(sample, -1)
        extract = Extraction(method, cli.datamodule, _trainer(cli.config_init["trainer"]), signals)
        feature_SD = extract(Rows(sample, unlabelled, unlabelled, unlabelled), ("features",))["features"]
        direction_HD = method.decision_directions().float().cpu().numpy()
        feature_ND = feature_SD.numpy()[np.searchsorted(wanted, rows["sample"].to_numpy())]
        report = None
        if memory.num:
            report = memory_report(feature_SD[torch.searchsorted(sample, ended.sample)], ended, _in(ended, memory))
        yield Embedding(number, rows, feature_ND, direction_HD), report


def _rows(stream: Stream, task: int, split: str, max_rows: int, memory: Rows) -> pd.DataFrame:
    """Return the rows of ``task`` in ``split`` that are drawn or in ``memory``."""
    rows = stream.rows(task, split)
    frame = pd.DataFrame({name: getattr(rows, name).numpy() for name in ("sample", "task", "label")})
    frame["method"] = stream.table.frame["method"].to_numpy()[frame["sample"]]
    frame["split"] = split
    order = pd.Series(priority(SEED, frame["sample"].to_numpy()))
    frame["drawn"] = order.groupby(frame["label"]).rank(method="first") <= max_rows
    frame["in_memory"] = _in(rows, memory).numpy()
    return frame[frame["drawn"] | frame["in_memory"]]


def _in(rows: Rows, memory: Rows) -> Tensor:
    """Return (N,) whether each of the rows of one task is remembered under that task."""
    remembered: Tensor = torch.isin(rows.sample, memory.sample[torch.isin(memory.task, rows.task)])
    return remembered


def _trainer(settings: dict[str, Any]) -> pl.Trainer:
    """Return a Trainer of one process that predicts at the run's precision."""
    return pl.Trainer(
        accelerator=settings["accelerator"],
        devices=1,
        precision=settings["precision"],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
