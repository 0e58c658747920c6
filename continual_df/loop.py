"""The loop over the stream: what happens to each task, in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from continual_df.callbacks.step_checkpoint import StepCheckpoint
from continual_df.checkpoint_file import load_checkpoint, save_checkpoint
from continual_df.data.datamodule import StreamDataModule
from continual_df.data.stream import Stream
from continual_df.errors import CheckpointError
from continual_df.evaluation.results import NUM_DRAWS, write_results
from continual_df.evaluation.results import Rows as ResultRows
from continual_df.evaluation.run_summary import memory_size
from continual_df.extraction import Extraction
from continual_df.failures import explain_failure
from continual_df.ledger import combine_ranks
from continual_df.memory.memory_columns import memory_columns
from continual_df.methods.base import Method
from continual_df.ranks import from_all, is_writer
from continual_df.run_folder import RunFolder
from continual_df.search.space import Record
from continual_df.search.trials import SearchTools, TaskSearch
from continual_df.sizes import charge_pretraining, note_parameters, note_stored
from continual_df.task import Rows, Task, View

MakeTrainer = Callable[[int], pl.Trainer]
"""``make_trainer(number)`` -> a fresh Trainer for task ``number`` (0: the prediction before training)."""

Report = Callable[[Task, dict[str, Any]], None]
"""``report(task, results)`` is called after each task with the results so far."""


DRAWS_BETWEEN = 100
"""Bootstrap draws of the intervals while the stream goes on; after the last task there are as many as anywhere."""


def run_stream(
    method: Method,
    data: StreamDataModule,
    make_trainer: MakeTrainer,
    folder: RunFolder,
    checkpoint: StepCheckpoint,
    report: Report,
    search: SearchTools | None = None,
) -> dict[str, Any]:
    """Train ``method`` on every task of the stream in order, and predict all test sets after each.

    A task: ``begin_task`` -> ``meet_task`` -> fit -> load the best validation checkpoint, where a monitored ModelCheckpoint is
    configured (it sees the current task's validation split only) -> ``end_task`` -> predict the test sets of all tasks
    and the validation sets of the tasks so far -> write. Row 0 is predicted after the first ``begin_task``. With a ``search``, its
    trials stand in the place of the fit, and the weights of the best one's best validation go on.

    What ``folder`` holds of the run already is not done again: it continues from the last task that was committed and
    the last checkpoint within the next, to the same results.

    Args:
        method: The method as it was first built; trained in place.
        data: The stream's datamodule.
        make_trainer: Makes a fresh Trainer for each task: one that is fitted twice trains 0 steps. ``checkpoint`` is its
            first callback.
        folder: Where everything is written; created already.
        checkpoint: Saves the run within a task; its state holds the ledger.
        report: Told the results after each task.
        search: Searches settings in each task; None where they are given.

    Returns:
        The content of ``results.json``.

    Raises:
        TrainingError: If a data worker died, memory ran out or a file could not be read; what was saved before stays.
        Interrupted: If a signal came.
    """
    with checkpoint.state.ledger.activate():
        return _Loop(method, data, make_trainer, folder, checkpoint, report, search).run()


@dataclass
class _Loop:
    method: Method
    data: StreamDataModule
    make_trainer: MakeTrainer
    folder: RunFolder
    checkpoint: StepCheckpoint
    report: Report
    search: SearchTools | None
    rows: ResultRows = field(default_factory=dict)
    kept: dict[int, dict[str, int | None]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        stream, state = self.data.stream, self.checkpoint.state
        done = self._begin()
        results = self._evaluate(stream.tasks[done - 1]) if done else {}
        for task in stream.tasks[done:]:
            seen = [stream.rows(index, "train") for index in range(task.number)]
            self.method.unlabelled = [stream.rows(index, "unlabelled") for index in range(task.number)]
            self.method.validation = [stream.rows(index, "val") for index in range(task.number)]
            self.method.begin_task(task)
            saved = self._newest(task)
            if saved is None:
                self._meet(task, seen[-1])
            state.ledger.task = self.checkpoint.task = task.number
            trainer = self.make_trainer(task.number)
            trials = self._train(trainer, task, seen, saved)
            extract = self._extraction(trainer)
            with state.ledger.phase("selection"):
                self.method.end_task(task, seen[-1], extract)
            note_stored(state.ledger, self.method)
            predictions = _predict(extract, _asked(stream, task.number))
            self._commit(task.number, predictions, self.method, trials)
            results = self._evaluate(task)
        return results

    def _begin(self) -> int:
        """Bring method and state to the last committed task, or to the beginning; return its number."""
        folder, stream = self.folder, self.data.stream
        done = folder.last_task()
        if done:
            saved = folder.load_task(done)
            self.method.restore(stream.tasks[:done], saved["state_dict"])
            self.checkpoint.state.load_state_dict(saved["run"])
        elif is_writer():
            folder.write_stream(stream)
            self.checkpoint.state.log.rewind(0)
            charge_pretraining(self.checkpoint.state.ledger, self.method.detector)
        return done

    def _meet(self, task: Task, rows: Rows) -> None:
        """Let the method look at a task before it is trained; before the first one, predict row 0."""
        ledger = self.checkpoint.state.ledger
        if task.index == 0:
            ledger.task = 0
            self._commit(0, _predict(self._extraction(self.make_trainer(0)), _asked(self.data.stream, 0)), None)

        def extract(rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
            return self._extraction(self.make_trainer(0))(
                rows, fields, view
            )  # few methods ask: no Trainer for the others

        ledger.task = task.number
        with ledger.phase("selection"):
            self.method.meet_task(task, rows, extract)

    def _newest(self, task: Task) -> Path | None:
        """Return the newest checkpoint within ``task``, if any."""
        fitted, search = self.folder.fitted(task.number), self.folder.search(task.number)
        found = [path for path in (fitted, search, *self.folder.steps(task.number)[::-1]) if path.exists()]
        return found[0] if found else None

    def _train(self, trainer: pl.Trainer, task: Task, seen: list[Rows], saved: Path | None) -> list[Record]:
        """Train the task, from ``saved`` on, and save the weights that it ends with; return the trials, where there are any."""
        fitted, state = self.folder.fitted(task.number), self.checkpoint.state
        if saved is not None:
            self.folder.verify_step(saved, task.number)
        if saved == fitted:
            content = load_checkpoint(fitted)
            self.method.load_state_dict(content["state_dict"])
            state.load_state_dict(content["run"])
            return list(content["trials"])
        note_parameters(state.ledger, self.method)
        trials: list[Record] = []
        if self.search is None:
            if saved is not None:  # the plan may follow from what the method found when it met the task
                self.method.load_state_dict(load_checkpoint(saved)["state_dict"])
            self.data.begin_task(task.index, self.method.batch_plan(task, seen), self.method.validation_rows())
            with self._explained(task):
                trainer.fit(self.method, datamodule=self.data, ckpt_path=saved)
            _load_best(self.method, trainer)
        else:
            tasks, signals = self.data.stream.tasks[: task.number], self.checkpoint.signals
            guard = partial(self._explained, task)
            searching = TaskSearch(self.search, self.method, tasks, seen, self.data, state, signals, guard)
            trials = searching.run(self.folder.search(task.number))
        content = {"state_dict": self.method.state_dict(), "run": state.state_dict(), "trials": trials}
        if is_writer():
            save_checkpoint(content, fitted)
        self.checkpoint.signals.act()
        return trials

    @contextmanager
    def _explained(self, task: Task) -> Iterator[None]:
        """Say of what breaks inside a fit what happened and what to do."""
        try:
            yield
        except Exception as error:
            self.checkpoint.signals.act()  # what ended the run may have ended a process that it needs, too
            explained = explain_failure(error, task, self.checkpoint.step, self.checkpoint.rows)
            if explained is None:
                raise
            raise explained from error

    def _evaluate(self, task: Task) -> dict[str, Any]:
        """Write ``compute.json`` and ``results.json`` after ``task``, report, and drop the checkpoints within it."""
        costs = combine_ranks(from_all(self.checkpoint.state.ledger.state_dict()))
        if not is_writer():
            return {}
        self.folder.drop_within(task.number)
        self.folder.write_json("compute.json", self._with_files(costs.to_json()))
        last = task is self.data.stream.tasks[-1]
        results = write_results(self.folder.path, NUM_DRAWS if last else DRAWS_BETWEEN, self.rows)
        self.report(task, results)
        return results

    def _with_files(self, compute: dict[str, Any]) -> dict[str, Any]:
        """Return ``compute`` with the bytes of each task's checkpoint, and of what its memory remembers."""
        for entry in compute["tasks"]:
            number = entry["task"]
            if number > 0 and number not in self.kept:  # measured once: each reads the frame table
                size = self.folder.checkpoint(number).stat().st_size
                self.kept[number] = {"memory": memory_size(self.folder.path, number)[1], "checkpoint": size}
            if number > 0:
                entry["stored_bytes"] |= self.kept[number]
        return compute

    def _commit(
        self, number: int, predictions: pd.DataFrame, method: Method | None, trials: Sequence[Record] = ()
    ) -> None:
        """Write the task on the process that writes; without a method, the predictions only."""
        state, memory, notes = None, None, {}
        if method is not None:
            state = {
                "state_dict": method.state_dict(),
                "task": number,
                "pytorch-lightning_version": version("pytorch-lightning"),
                "run": self.checkpoint.state.state_dict(),
            }
            memory = memory_columns(method)
            notes = {**method.notes(), **({"search.json": {"trials": trials}} if trials else {})}
        if is_writer():
            self.folder.commit_task(number, predictions, state, memory, notes)

    def _extraction(self, trainer: pl.Trainer) -> Extraction:
        return Extraction(self.method, self.data, trainer, self.checkpoint.signals)


def _predict(extract: Extraction, samples: np.ndarray) -> pd.DataFrame:
    """Return the predictions frame of ``samples``; what the method cannot predict is null."""
    sample = torch.from_numpy(samples.astype(np.int64))
    unlabelled = torch.full_like(sample, -1)
    fields = ("fake_logit", "method_logits", "novelty")
    outputs = extract.found(Rows(sample, unlabelled, unlabelled, unlabelled), fields)
    nothing = torch.full((len(sample),), torch.nan)
    frame = {"sample": samples.astype(np.int64), "logit_fake": outputs.get("fake_logit", nothing).numpy()}
    if "method_logits" in outputs:
        logit_NC = outputs["method_logits"].numpy()
        frame |= {f"logit_method_{c}": logit_NC[:, c] for c in range(logit_NC.shape[1])}
    if "novelty" in outputs:
        frame["novelty"] = outputs["novelty"].numpy()
    return pd.DataFrame(frame)


def _asked(stream: Stream, number: int) -> np.ndarray:
    """Return the samples to predict after task ``number``: all test sets, and validation of the tasks so far."""
    member = stream.membership
    validation = member.loc[(member["split"] == "val") & member["task"].between(0, number - 1), "sample"]
    return np.union1d(stream.test_samples(), validation.to_numpy())


def _load_best(method: Method, trainer: pl.Trainer) -> None:
    """Load the weights of the best validation step, where a monitored ModelCheckpoint kept them."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            try:
                best = load_checkpoint(Path(callback.best_model_path))
            except CheckpointError as error:
                raise CheckpointError(
                    f"The best checkpoint of the task is lost: {error} Remove what steps/ and epochs/ hold of the task in the "
                    "run folder to train it again."
                ) from error
            method.load_state_dict(best["state_dict"])
            return
