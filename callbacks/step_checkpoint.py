"""Saves the run between two steps, so that it continues exactly there, and stops it there when a signal asks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn

from continual_df.checkpoint_file import load_checkpoint
from continual_df.errors import CheckpointError, Interrupted
from continual_df.fit_position import fit_position, move_checkpoints, set_fit_position
from continual_df.logged_values import Logged, add_logged
from continual_df.ranks import is_writer, largest_of_all, rank_and_size
from continual_df.requeue import Requeue
from continual_df.run_folder import RunFolder
from continual_df.run_state import RunState
from continual_df.stop_signals import StopSignals
from continual_df.task import Batch

SHARE_BEFORE_VALIDATION = 0.01
"""A signal breaks a validation off. So that little is lost then, the run is saved before the last step of an epoch too, where
that takes no more than this share of the time since the last save."""

FIRST_SAVE_SECONDS = 0.2
"""What a save is taken to need until one has been measured."""


@dataclass(frozen=True)
class CheckpointSchedule:
    """When the run is saved within a task, and how many of these checkpoints stay.

    Attributes:
        every_minutes: Minutes between two checkpoints, or null.
        every_n_steps: Optimizer steps between two checkpoints, or null.
        keep: How many are kept of the task that is training; the ends of tasks are always kept.
    """

    every_minutes: float | None = 10.0
    every_n_steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("every_minutes", "every_n_steps", "keep"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"checkpoint.{name} is {value}: it must be positive, or null")


class StepCheckpoint(Callback):
    """Saves before a batch begins; must be the first callback, so that no other has begun it.

    There, all that belongs to the step before is over: hooks, validation, logging. Between the batches of an accumulated
    gradient nothing is saved. A resumed fit continues with what an unbroken one has: Lightning's part (weights,
    optimizer, schedule, scaler, callbacks, loops) and ours (generators, ledger, ``metrics.csv``, running means of what is
    logged, metrics of the method). Where its batches go on, `StreamDataModule` knows.

    Args:
        schedule: When to save.
        folder: The run folder.
        state: What else the run carries.
        signals: Asked before each batch whether to stop.
        requeue: Asked before each batch, and after each one that is predicted, whether to go back to the queue.

    Attributes:
        task: Number of the task that is training; the loop sets it.
        step: Optimizer steps that it has done.
    """

    across_tasks = True

    def __init__(
        self,
        schedule: CheckpointSchedule,
        folder: RunFolder,
        state: RunState,
        signals: StopSignals,
        requeue: Requeue | None = None,
    ) -> None:
        self.schedule, self.folder, self.state, self.signals = schedule, folder, state, signals
        self.requeue = requeue or Requeue(None)
        self.task, self.step = 0, 0
        self._samples: torch.Tensor | None = None
        self._saving: dict[str, Any] = {}
        self._loaded: dict[str, Any] = {}
        self._logged: Logged = {}
        self._in_batch, self._checked = False, False
        self._steps_after = 0  # what Lightning will have counted when all that belongs to the last batch is over
        self._saved_step, self._saved_time = 0, 0.0
        self._save_seconds = FIRST_SAVE_SECONDS

    @property
    def rows(self) -> list[int]:
        """Sample rows of the batch that this process has begun, or waits for."""
        return [] if self._samples is None else self._samples.tolist()

    def state_dict(self) -> dict[str, Any]:
        """Return what Lightning does not save; nothing for checkpoints that others write."""
        return self._saving

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take all but what must wait for the first batch."""
        self.state.load_state_dict(state_dict["run"], generators=False)
        self._loaded = state_dict

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the loops down as they are when a batch begins, which has not yet said whether it is the last."""
        if self._saving:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            progress["is_last_batch"] = False
            for part in ("total", "current"):
                progress[part]["ready"] = progress[part]["completed"] + 1

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let ModelCheckpoints find their files where the run folder is now."""
        before = checkpoint["callbacks"][self.state_key]["epochs"]
        move_checkpoints(checkpoint, before, str(self.folder.epochs(self.task)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals between batches from here on."""
        self.signals.defer()
        self._steps_after = trainer.fit_loop.epoch_loop._batches_that_stepped
        self.step, self._in_batch = trainer.global_step, False
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Continue from a checkpoint, save one, or stop.

        Raises:
            Interrupted: If a signal has come, to any process.
        """
        self._continue(trainer, pl_module)
        self.step = trainer.global_step
        if batch_idx % trainer.accumulate_grad_batches == 0:
            asked = [int(self._is_due(trainer)), self.signals.received, int(self.requeue.asked)]
            due, stop, back = largest_of_all(asked, trainer.strategy.root_device)
            if due or stop or back:
                self._save(trainer, pl_module)
            if stop:
                raise Interrupted(stop)
            if back:
                self.requeue.run(trainer)
        stepped = trainer.fit_loop.epoch_loop._batches_that_stepped
        self._steps_after = stepped + (not trainer.fit_loop._should_accumulate())
        self._samples, self._in_batch = batch["sample"], True  # as it is: reading it would wait for the device

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Add what was logged before the checkpoint to what is logged now."""
        self._in_batch = False
        self._logged = add_logged(trainer, self._logged)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add it to what was logged later, too."""
        add_logged(trainer, self._logged)
        self._logged = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal break a validation off."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.signals.act()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let it wait for the end of a step again."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.signals.defer()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note how far training came."""
        self.step = trainer.global_step

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal stop a prediction at once; Lightning's handler would tell the other processes in the midst of it."""
        self.signals.take_back()

    def on_predict_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Hand the job back to the queue if asked; what this prediction needs is saved."""
        if self.requeue.asked:
            self.requeue.run(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save what can be saved: all, where the next batch could not be had."""
        if trainer.state.fn != TrainerFn.FITTING or isinstance(exception, Interrupted):
            return
        loop: Any = trainer.fit_loop  # its progress is not typed
        epoch, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        waiting = trainer.training and not self._in_batch and batches.ready == batches.completed
        waiting = waiting and loop.epoch_loop._batches_that_stepped == self._steps_after
        if not waiting or epoch.processed != epoch.ready - 1 or batches.ready % trainer.accumulate_grad_batches:
            return
        loader: Any = trainer.train_dataloader
        if batches.completed < len(loader.batch_sampler):
            rank, size = rank_and_size()
            self.step = trainer.global_step
            draws = loader.batch_sampler.batch(trainer.current_epoch, batches.completed)
            self._samples = torch.tensor([draw.sample for draw in draws[rank::size]])
            if size == 1 and not self._loaded:  # other processes may not know of this failure, and would not save
                self._save(trainer, pl_module)

    def _is_due(self, trainer: Trainer) -> bool:
        steps, seconds = trainer.global_step - self._saved_step, time.monotonic() - self._saved_time
        schedule = self.schedule
        if schedule.every_n_steps is not None and steps >= schedule.every_n_steps:
            return True
        if schedule.every_minutes is None or not steps:
            return False
        limit = 60 * schedule.every_minutes
        return seconds >= (min(limit, self._save_seconds / SHARE_BEFORE_VALIDATION) if trainer.is_last_batch else limit)

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        path = self.folder.step(self.task, trainer.global_step)
        if path.exists():  # where this fit has continued from
            return
        begun = time.monotonic()
        self._saving = {
            "run": self.state.state_dict(),
            "position": fit_position(trainer, module),
            "epochs": str(self.folder.epochs(self.task)),
        }
        try:
            trainer.save_checkpoint(path)
        finally:
            self._saving = {}
        if is_writer():
            self._check_once(path)
            self.folder.keep_steps(self.task, self.schedule.keep)
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        self._save_seconds = self._saved_time - begun

    def _check_once(self, path: Any) -> None:  # noqa: ANN401
        """Read the first checkpoint back: one that holds what must not be loaded would be found out too late."""
        if self._checked:
            return
        try:
            load_checkpoint(path)
        except CheckpointError:
            path.unlink()
            raise
        self._checked = True

    def _continue(self, trainer: Trainer, module: LightningModule) -> None:
        """Before the first batch after a checkpoint, take from it what the way here has changed."""
        if self._loaded:
            at, self._loaded = self._loaded, {}
            self._logged = set_fit_position(trainer, module, at["position"])
            self.state.load_generators(at["run"])
