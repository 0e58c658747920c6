"""Features of the training images of a run that know nothing of their labels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from continual_df.commands.stream_cli import StreamCLI
from continual_df.data.datamodule import ForgeryStream
from continual_df.data.images import TableImages
from continual_df.task import Rows

if TYPE_CHECKING:
    from continual_df.audit.subject import Subject


def train_features(run: Path, subject: Subject) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the training rows of ``run`` (N,) and their features (N, D) by its detector as it was before training.

    A trained detector has learnt the labels in question, wrong ones too, so probes of its features find a quarter of
    them where those of the first weights find more than half (docs/audit.md). Runs on the CPU, without augmentation.

    Raises:
        ConfigError: If the run's config.yaml names what is not there any more.
    """
    warnings.filterwarnings("ignore", ".*LightningCLI.s args parameter.*")  # the command's own words are not its
    cli = StreamCLI(["--config", str(run / "config.yaml")])
    detector, data = cli.model.detector, cli.datamodule
    if isinstance(data, ForgeryStream):
        data.images = TableImages(subject.table, data.channels)  # as stored: the tables may have changed since
    else:
        _ = data.stream  # its images come with it
    sample = subject.labelled_train
    unlabelled = torch.full((len(sample),), -1)
    rows = Rows(torch.from_numpy(sample), unlabelled, unlabelled, unlabelled)
    detector.eval()
    with torch.inference_mode():
        parts = [detector(batch["image"]).pooled_BD.numpy() for batch in data.rows_dataloader(rows)]
    return sample, np.concatenate(parts)
