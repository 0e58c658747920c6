"""The loop over the stream: what happens to each task, in which order."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from continual_df.data.datamodule import StreamDataModule
from continual_df.data.stream import Stream
from continual_df.errors import ConfigError
from continual_df.evaluation.results import write_results
from continual_df.ledger import Ledger, combine_ranks
from continual_df.memory import ReplayMemory
from continual_df.methods.base import Method
from continual_df.run_folder import RunFolder, is_writer
from continual_df.task import Rows, Task

MakeTrainer = Callable[[int], pl.Trainer]
"""``make_trainer(number)`` -> a fresh Trainer for task ``number`` (0: the prediction before training)."""

Report = Callable[[Task, dict[str, Any]], None]
"""``report(task, results)`` is called after each task with the results so far."""


DRAWS_BETWEEN = 100
"""Bootstrap draws of the intervals while the stream goes on; after the last task there are as many as anywhere."""


def run_stream(
    method: Method, data: StreamDataModule, make_trainer: MakeTrainer, folder: RunFolder, ledger: Ledger, report: Report
) -> dict[str, Any]:
    """Train ``method`` on every task of the stream in order, and predict all test sets after each.

    A task: ``begin_task`` -> fit -> load the best validation checkpoint, where a monitored ModelCheckpoint is
    configured (it sees the current task's validation split only) -> ``end_task`` -> predict the test sets of all tasks
    and the validation sets of the tasks so far -> write. Row 0 is predicted after the first ``begin_task``.

    Args:
        method: The method; trained in place.
        data: The stream's datamodule.
        make_trainer: Makes a fresh Trainer for each task: one that is fitted twice trains 0 steps.
        folder: Where everything is written; created already.
        ledger: Compute ledger; ``compute.json`` is written after each task.
        report: Told the results after each task.

    Returns:
        The content of ``results.json``.
    """
    with ledger.activate():
        return _run(method, data, make_trainer, folder, ledger, report)


def _run(
    method: Method, data: StreamDataModule, make_trainer: MakeTrainer, folder: RunFolder, ledger: Ledger, report: Report
) -> dict[str, Any]:
    stream = data.stream
    seen: list[Rows] = []
    results: dict[str, Any] = {}
    if is_writer():
        folder.write_stream(stream)
    for task in stream.tasks:
        seen.append(stream.rows(task.index, "train"))
        method.begin_task(task)
        if task.index == 0:
            ledger.task = 0
            _commit(folder, 0, _predict(method, data, make_trainer(0), _asked(stream, 0)), None)
        ledger.task = task.number
        data.begin_task(task.index, method.batch_plan(task, seen))
        trainer = make_trainer(task.number)
        trainer.fit(method, datamodule=data)
        _load_best(method, trainer)

        def extract(rows: Rows, fields: tuple[str, ...], trainer: pl.Trainer = trainer) -> dict[str, Tensor]:
            values = _extract(method, data, trainer, rows, fields)
            if any(value.isnan().any() for value in values.values()):
                raise ConfigError(
                    "The end of a task needs a prediction of every row that it asks for, and some have none or NaN: remove "
                    "trainer.limit_predict_batches and trainer.fast_dev_run, or lower the learning rate."
                )
            return values

        with ledger.phase("selection"):
            method.end_task(task, seen[-1], extract)
        predictions = _predict(method, data, trainer, _asked(stream, task.number))
        _commit(folder, task.number, predictions, method)
        folder.drop_epochs(task.number)
        costs = combine_ranks(_from_all(ledger.state_dict()))
        if is_writer():
            folder.write_json("compute.json", costs.to_json())
            last = task is stream.tasks[-1]
            results = write_results(folder.path) if last else write_results(folder.path, DRAWS_BETWEEN)
            report(task, results)
    return results


def _asked(stream: Stream, number: int) -> np.ndarray:
    """Return the samples to predict after task ``number``: all test sets, and validation of the tasks so far."""
    member = stream.membership
    validation = member.loc[(member["split"] == "val") & member["task"].between(0, number - 1), "sample"]
    return np.union1d(stream.test_samples(), validation.to_numpy())


def _predict(method: Method, data: StreamDataModule, trainer: pl.Trainer, samples: np.ndarray) -> pd.DataFrame:
    """Return the predictions frame of ``samples``; what the method cannot predict is null."""
    sample = torch.from_numpy(samples.astype(np.int64))
    unlabelled = torch.full_like(sample, -1)
    rows = Rows(sample, unlabelled, unlabelled, unlabelled)
    outputs = _extract(method, data, trainer, rows, ("fake_logit", "method_logits"))
    nothing = torch.full((len(sample),), torch.nan)
    frame = {"sample": samples.astype(np.int64), "logit_fake": outputs.get("fake_logit", nothing).numpy()}
    if "method_logits" in outputs:
        logit_NC = outputs["method_logits"].numpy()
        frame |= {f"logit_method_{c}": logit_NC[:, c] for c in range(logit_NC.shape[1])}
    return pd.DataFrame(frame)


def _extract(
    method: Method, data: StreamDataModule, trainer: pl.Trainer, rows: Rows, fields: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return ``fields`` of the predictions for ``rows``, in their order, gathered from all processes.

    Rows that the Trainer was told to leave out (``limit_predict_batches``, ``fast_dev_run``) are NaN.
    """
    usual, method.predict_fields = method.predict_fields, fields
    try:
        parts = trainer.predict(method, datamodule=_RowsModule(data, rows)) or []
    finally:
        method.predict_fields = usual
    parts = [part for rank in _from_all(parts) for part in rank]
    outputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}
    sample = outputs.pop("sample", torch.empty(0, dtype=torch.long))
    found = torch.isin(rows.sample, sample)
    order = torch.argsort(sample)
    place = order[torch.searchsorted(sample[order], rows.sample[found])]
    complete = {}
    for name, value in outputs.items():
        complete[name] = value.new_full((rows.num, *value.shape[1:]), torch.nan)
        complete[name][found] = value[place]
    return complete


def _from_all(value: Any) -> list[Any]:  # noqa: ANN401
    """Return ``value`` of every process, by rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, value)
    return gathered


class _RowsModule(pl.LightningDataModule):
    """Defers the loader until the Trainer has started its processes, so that each takes its share."""

    def __init__(self, data: StreamDataModule, rows: Rows) -> None:
        super().__init__()
        self.data, self.rows = data, rows

    def predict_dataloader(self) -> Any:  # noqa: ANN401
        return self.data.rows_dataloader(self.rows)


def _commit(folder: RunFolder, number: int, predictions: pd.DataFrame, method: Method | None) -> None:
    """Write the task on the process that writes."""
    if not is_writer():
        return
    state = None
    memory = None
    if method is not None:
        state = {
            "state_dict": method.state_dict(),
            "task": number,
            "pytorch-lightning_version": version("pytorch-lightning"),
        }
        kept = getattr(method, "memory", None)
        memory = kept.rows if isinstance(kept, ReplayMemory) else None
    folder.commit_task(number, predictions, state, memory)


def _load_best(method: Method, trainer: pl.Trainer) -> None:
    """Load the weights of the best validation step, where a monitored ModelCheckpoint kept them."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            checkpoint = torch.load(Path(callback.best_model_path), map_location="cpu", weights_only=True)
            method.load_state_dict(checkpoint["state_dict"])
            return
