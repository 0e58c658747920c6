"""The search inside a task: trials one after another, each resumable, each paid for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from continual_df.callbacks.best_step import BestStep, copied
from continual_df.checkpoint_file import load_checkpoint, save_checkpoint
from continual_df.cost import NOT_LEARNING
from continual_df.data.datamodule import StreamDataModule
from continual_df.errors import ConfigError, NonFiniteLossError, TrainingError
from continual_df.memory import ReplayMemory
from continual_df.methods.base import Method
from continual_df.ranks import is_writer
from continual_df.run_state import RunState
from continual_df.search.space import Record, Search, best_record, start_trial
from continual_df.stop_signals import StopSignals
from continual_df.task import Rows, Task

BuildMethod = Callable[[dict[str, Any]], Method]
"""``build(values)`` -> the method of the YAML, newly made, with ``values`` in place of its settings."""

MakeTrial = Callable[[pl.Callback, float], pl.Trainer]
"""``make_trial(callback, share)`` -> a Trainer without logger and checkpoints that stops when ``share`` of the task's budget is spent."""


class SearchTools(NamedTuple):
    """What the searches of all tasks share: their settings, how to make a method and the Trainer of a trial, the seed of the values."""

    settings: Search
    build: BuildMethod
    make_trial: MakeTrial
    seed: int


@dataclass
class TaskSearch:
    """Searches the settings of a method in one task.

    A trial is the method of the YAML with other values, in the state in which the task begins, with the same random
    generators. It reads images of its task, and those that the method's memories have kept; anything else is refused. What it
    spends, its validation included, goes to the ledger's phase ``search`` (what the method calls the teacher's, to ``teacher``); the budget
    of a task is shared out evenly over its trials.

    Attributes:
        tools: What the searches of all tasks share.
        method: As the task begins, its `Method.meet_task` done; or as it was made, where the search has begun before.
        tasks: The tasks so far; the last is searched.
        seen: Training rows of each of them.
        data: The stream's datamodule.
        state: What the run carries; its random generators are afterwards what they were before.
        signals: The run's.
        guard: Context in which a fit runs; explains its failures.
    """

    tools: SearchTools
    method: Method
    tasks: list[Task]
    seen: list[Rows]
    data: StreamDataModule
    state: RunState
    signals: StopSignals
    guard: Callable[[], AbstractContextManager[None]]

    def run(self, path: Path) -> list[Record]:
        """Bring the method to the best weights of all trials, and return what is known of them.

        Args:
            path: Checkpoint of the search, written after every trial; where it is there, the search goes on.

        Raises:
            LeakError: If a trial reads other images.
            TrainingError: If no trial has measured anything.
        """
        search, task = self.tools.settings, self.tasks[-1]
        if path.exists():
            found = load_checkpoint(path)
        else:
            found = {
                "start": copied(self.method.state_dict()),
                "best": {},
                "trials": [],
                "run": self.state.state_dict(),
            }
            _save(found, path)
        self.method.load_state_dict(found["start"])
        self.state.load_state_dict(found["run"])
        trials: list[Record] = found["trials"]
        while len(trials) < search.trials:
            record, weights = self._try(found)
            trials.append(record)
            if best_record(search, trials) is record:
                found["best"] = weights
            self.state.load_generators(found["run"])
            found["run"] = self.state.state_dict()
            _save(found, path)
            gc.collect()  # a Trainer and its method hold each other: they would pile up, trial by trial
        best = best_record(search, trials)
        if best is None:
            raise TrainingError(
                f"Task {task.number} ('{task.name}'): none of {len(trials)} trials has reached a validation with a finite "
                f"{search.monitor}. Narrow search.space: {search.space}."
            )
        self.method.load_state_dict(found["best"])
        for epoch, step, value, flops in best["curve"]:
            self.state.log.log_metrics({"epoch": epoch, search.monitor: value, "compute/flops": flops}, step)
        return trials

    def _try(self, found: dict[str, Any]) -> tuple[Record, dict[str, object]]:
        """Run the next trial; return its record and its best weights."""
        search, task, ledger, number = self.tools.settings, self.tasks[-1], self.state.ledger, len(found["trials"])
        trial = start_trial(search, found["trials"], self.tools.seed, task.index)
        with torch.random.fork_rng():
            candidate = self.tools.build(trial.params)
            candidate.unlabelled, candidate.validation = self.method.unlabelled, self.method.validation
            try:
                candidate.restore(self.tasks, found["start"])
            except RuntimeError as error:
                raise ConfigError(
                    f"search.space: with {trial.params} the method has other weights than without ({str(error).splitlines()[0]}): only what "
                    "leaves the weights' names and shapes alone can be searched."
                ) from error

        def prune(value: float, at: int) -> bool:
            trial.report(value, at)
            return bool(trial.should_prune())

        best = BestStep(search.monitor, search.mode, ledger, self.signals, prune)
        trainer = self.tools.make_trial(best, (number + 1) / search.trials)
        began, spent = time.monotonic(), ledger.cost(but=NOT_LEARNING).flops
        ended = "complete"
        self.state.load_generators(found["run"])
        with self.data.confined(_own_samples(candidate, self.data, task)), ledger.phase("search"), self.guard():
            self.data.begin_task(task.index, candidate.batch_plan(task, self.seen), candidate.validation_rows())
            try:
                trainer.fit(candidate, datamodule=self.data)
            except NonFiniteLossError:  # a rate that is too high is an answer, too
                ended = "diverged"
        record: Record = {
            "trial": number,
            "values": dict(trial.params),
            "state": "pruned" if best.pruned else ended,
            "best": best.best,
            "curve": [list(point) for point in best.curve],
            "flops": ledger.cost(but=NOT_LEARNING).flops - spent,
            "seconds": time.monotonic() - began,
        }
        return record, best.weights


def _save(found: dict[str, Any], path: Path) -> None:
    if is_writer():
        save_checkpoint(found, path)


def _own_samples(method: Method, data: StreamDataModule, task: Task) -> Tensor:
    """Return the samples that a trial may read: those of its task, but for the test set, and those of the method's memories."""
    rows = [data.stream.rows(task.index, split) for split in ("train", "val", "unlabelled")]
    kept = [part.rows for part in method.modules() if isinstance(part, ReplayMemory)]
    return torch.cat([part.sample for part in (*rows, *kept)])
