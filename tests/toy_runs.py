"""Runs of a method on the toy stream, by the loop alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from continual_df.callbacks.compute_ledger import ComputeLedger
from continual_df.callbacks.step_checkpoint import CheckpointSchedule, StepCheckpoint
from continual_df.checkpoint_file import VerifiedCheckpointIO
from continual_df.ledger import Ledger
from continual_df.loop import run_stream
from continual_df.methods import Method
from continual_df.metrics_log import MetricsLog
from continual_df.run_folder import RunFolder
from continual_df.run_state import RunState
from continual_df.stop_signals import StopSignals
from tests.toy import ToyData


def run(method: Method, data: ToyData, path: Path, epochs: int = 12, callbacks: Any = list, **options: Any) -> Any:
    """Run ``method`` on ``data`` into the folder ``path``; return its results and the Trainers."""
    folder = RunFolder(path)
    folder.create("")
    log = MetricsLog(path / "metrics.csv")
    ledger = ComputeLedger(Ledger())
    checkpoint = StepCheckpoint(CheckpointSchedule(), folder, RunState(ledger.ledger, log), StopSignals())
    trainers = []

    def make_trainer(number: int) -> pl.Trainer:
        log.task = number
        made = callbacks()
        settings: dict[str, Any] = {
            "max_epochs": epochs,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(cb, ModelCheckpoint) for cb in made),
            "use_distributed_sampler": False,
            "logger": [log],
            "callbacks": [checkpoint, *made, ledger],
            "plugins": [VerifiedCheckpointIO()],
        }
        trainers.append(pl.Trainer(**{**settings, **options}))
        return trainers[-1]

    results = run_stream(method, data, make_trainer, folder, checkpoint, lambda task, results: None)
    return results, trainers
