"""Saves the run between two steps, so that it continues exactly there, and stops it there when a signal asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torchmetrics import Metric

from continual_df.checkpoint_file import load_checkpoint
from continual_df.errors import CheckpointError, Interrupted
from continual_df.ranks import from_all, is_writer, largest_of_all, rank_and_size
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

COMBINE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": torch.add,
    "sum": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
}
"""How two parts of a value that is logged by epoch become one; a mean is kept as sum and weight."""


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
        self._logged: dict[str, list[Any]] = {}
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
        """Let ModelCheckpoint find its files where the run folder is now; in another place it would forget its best."""
        before = checkpoint["callbacks"][self.state_key]["epochs"]
        for saved in checkpoint["callbacks"].values():
            if "best_model_path" in saved:
                saved.update(_moved_paths(saved, before, str(self.folder.epochs(self.task))))

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
        self._add_logged(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add it to what was logged later, too."""
        self._add_logged(trainer)
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
        fit_loop: Any = trainer.fit_loop
        mine = {"logged": _running_values(trainer), "metrics": _metric_states(module)}
        self._saving = {
            "run": self.state.state_dict(),
            "processes": from_all(mine),
            "callback_metrics": {name: value.cpu() for name, value in trainer.callback_metrics.items()},
            "batches_that_stepped": fit_loop.epoch_loop._batches_that_stepped,
            "total_ready": fit_loop.epoch_loop.batch_progress.total.completed + 1,
            "should_stop": trainer.should_stop,
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "reloaded": [fit_loop._last_train_dl_reload_epoch, fit_loop.epoch_loop.val_loop._last_val_dl_reload_epoch],
            "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
            "training": [part.training for part in module.modules()],
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
        """Before the first batch after a checkpoint, take from it what the way here has changed.

        Lightning calls no ``on_train_epoch_start`` in mid-epoch, so what that hook may have done is taken from there too.
        """
        if not self._loaded:
            return
        at, self._loaded = self._loaded, {}
        mine = _share(at["processes"])
        fit_loop: Any = trainer.fit_loop
        fit_loop.epoch_loop._batches_that_stepped = at["batches_that_stepped"]
        fit_loop.epoch_loop.batch_progress.total.ready = at["total_ready"]
        fit_loop._last_train_dl_reload_epoch, fit_loop.epoch_loop.val_loop._last_val_dl_reload_epoch = at["reloaded"]
        trainer.should_stop, trainer.accumulate_grad_batches = at["should_stop"], at["accumulate_grad_batches"]
        for parameter, requires_grad in zip(module.parameters(), at["requires_grad"], strict=True):
            parameter.requires_grad = requires_grad
        for part, training in zip(module.modules(), at["training"], strict=True):
            part.training = training
        trainer.callback_metrics.update({name: v.to(module.device) for name, v in at["callback_metrics"].items()})
        self._logged = mine["logged"]
        _set_metric_states(module, mine["metrics"])
        self.state.load_generators(at["run"])

    def _add_logged(self, trainer: Trainer) -> None:
        """Add the running values of the checkpoint to those that have begun again since."""
        results = trainer.fit_loop.epoch_loop._results
        for key in [key for key in self._logged if key in results and not results[key].has_reset]:
            metric, (kind, value, weight) = results[key], self._logged.pop(key)
            device = metric.value.device
            metric.value = COMBINE[kind](value.to(device), metric.value)
            if kind == "mean":
                metric.cumulated_batch_size = weight.to(device) + metric.cumulated_batch_size
            metric._computed = None


def _running_values(trainer: Trainer) -> dict[str, list[Any]]:
    """Return, of each value that is logged by epoch, how it is reduced, what it has come to, and the weight of a mean."""
    found: dict[str, list[Any]] = {}
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        meta = metric.meta
        if metric.is_tensor and meta.on_epoch and not metric.has_reset:
            kind = "mean" if meta.is_mean_reduction else "max" if meta.is_max_reduction else "min"
            kind = "sum" if meta.is_sum_reduction else kind
            weight = metric.cumulated_batch_size if kind == "mean" else torch.zeros(())
            found[key] = [kind, metric.value.cpu(), weight.cpu()]
    return found


def _share(processes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what this process takes over.

    Its own part; or, where the number of processes has changed, the first takes what all have logged, and its own metrics.
    """
    rank, size = rank_and_size()
    if size == len(processes):
        return processes[rank]
    if rank:
        return {"logged": {}, "metrics": {}}
    logged: dict[str, list[Any]] = {}
    for process in processes:
        for key, (kind, value, weight) in process["logged"].items():
            before = logged.get(key)
            logged[key] = (
                [kind, COMBINE[kind](before[1], value), before[2] + weight] if before else [kind, value, weight]
            )
    return {"logged": logged, "metrics": processes[0]["metrics"]}


def _metric_states(module: LightningModule) -> dict[str, dict[str, Any]]:
    """Return the states of the metrics in ``module`` that have seen something."""
    return {
        name: {"count": metric._update_count, "state": _moved(metric.metric_state, "cpu")}
        for name, metric in module.named_modules()
        if isinstance(metric, Metric) and metric.update_called
    }


def _set_metric_states(module: LightningModule, states: dict[str, dict[str, Any]]) -> None:
    for name, metric in module.named_modules():
        if name in states:
            assert isinstance(metric, Metric)
            for key, value in _moved(states[name]["state"], metric.device).items():
                setattr(metric, key, value)
            metric._update_count, metric._computed = states[name]["count"], None


def _moved(state: dict[str, Any], device: torch.device | str) -> dict[str, Any]:
    """Return the state of a metric, whose values are tensors or lists of them, on ``device``."""
    return {
        key: [item.to(device) for item in value] if isinstance(value, list) else value.to(device)
        for key, value in state.items()
    }


def _moved_paths(saved: dict[str, Any], before: str, now: str) -> dict[str, Any]:
    """Return the state of a ModelCheckpoint with paths below folder ``before`` below ``now`` instead."""

    def moved(path: Any) -> Any:  # noqa: ANN401  a path, or None
        inside = isinstance(path, str) and (path == before or path.startswith(f"{before}/"))
        return now + path[len(before) :] if inside else path

    names = ("dirpath", "best_model_path", "kth_best_model_path", "last_model_path")
    best = {moved(path): score for path, score in saved.get("best_k_models", {}).items()}
    return {**{name: moved(saved.get(name)) for name in names}, "best_k_models": best}
