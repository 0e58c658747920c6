from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from continual_df.callbacks.step_checkpoint import CheckpointSchedule, StepCheckpoint
from continual_df.checkpoint_file import VerifiedCheckpointIO, load_checkpoint
from continual_df.errors import CheckpointError
from continual_df.ledger import Ledger
from continual_df.metrics_log import MetricsLog
from continual_df.run_folder import RunFolder
from continual_df.run_state import RunState
from continual_df.stop_signals import StopSignals


class Toy(LightningModule):
    """Whose state holds what a checkpoint must not, if asked."""

    def __init__(self, code: bool = False) -> None:
        super().__init__()
        self.layer, self.code = nn.Linear(1, 1), code

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss: Tensor = self.layer(batch["image"]).mean()
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.code:
            checkpoint["function"] = time.sleep

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make(tmp_path: Path, schedule: CheckpointSchedule) -> StepCheckpoint:
    folder = RunFolder(tmp_path)
    made = StepCheckpoint(schedule, folder, RunState(Ledger(), MetricsLog(tmp_path / "metrics.csv")), StopSignals())
    made.task = 1
    return made


def fit(checkpoint: StepCheckpoint, module: Toy, **settings: Any) -> None:
    rows: list[dict[str, Tensor]] = [
        {"image": torch.ones(1), "sample": torch.tensor(number), "role": torch.tensor(0)} for number in range(8)
    ]
    loader: DataLoader[Any] = DataLoader(rows)  # type: ignore[arg-type]
    usual = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        **{**usual, **settings}, accelerator="cpu", callbacks=[checkpoint], plugins=[VerifiedCheckpointIO()]
    )
    trainer.fit(module, loader)


@pytest.mark.parametrize(("keep", "expected"), [(1, [6]), (2, [3, 6]), (9, [3, 6])])
def test_the_last_few_checkpoints_are_kept(tmp_path: Path, keep: int, expected: list[int]) -> None:
    checkpoint = make(tmp_path, CheckpointSchedule(every_minutes=None, every_n_steps=3, keep=keep))
    fit(checkpoint, Toy())
    assert checkpoint.folder.steps(1) == [checkpoint.folder.step(1, step) for step in expected]


def test_nothing_is_saved_while_a_gradient_accumulates(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, CheckpointSchedule(every_minutes=None, every_n_steps=1, keep=9))
    fit(checkpoint, Toy(), accumulate_grad_batches=4)
    (only,) = checkpoint.folder.steps(1)
    progress = load_checkpoint(only)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert (progress["completed"], progress["ready"]) == (4, 5)


def test_a_checkpoint_that_could_not_be_loaded_is_found_when_it_is_saved(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, CheckpointSchedule(every_minutes=None, every_n_steps=3))
    with pytest.raises(CheckpointError, match="holds more than tensors and plain values"):
        fit(checkpoint, Toy(code=True))
    assert checkpoint.folder.steps(1) == []


@pytest.mark.parametrize(
    ("seconds", "is_last", "due"), [(599, False, False), (600, False, True), (19, True, False), (20, True, True)]
)
def test_time_makes_a_checkpoint_due_and_sooner_before_a_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_last: bool, due: bool
) -> None:
    checkpoint = make(tmp_path, CheckpointSchedule())
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=0))
    checkpoint.on_train_start(SimpleNamespace(global_step=5, fit_loop=loop), Toy())  # type: ignore[arg-type]
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + seconds)
    trainer: Any = SimpleNamespace(global_step=6, is_last_batch=is_last)
    assert checkpoint._is_due(trainer) is due
    trainer.global_step = 5
    assert checkpoint._is_due(trainer) is False  # nothing new


def test_minutes_can_be_switched_off(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, CheckpointSchedule(every_minutes=None))
    fit(checkpoint, Toy())
    assert not (tmp_path / "steps").exists()


@pytest.mark.parametrize("setting", [{"every_minutes": 0}, {"every_n_steps": -1}, {"keep": 0}])
def test_a_schedule_that_makes_no_sense_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it must be positive, or null"):
        CheckpointSchedule(**setting)
