"""What a method says of rows of the frame table, through a Trainer's prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from continual_df.data.datamodule import StreamDataModule
from continual_df.errors import ConfigError
from continual_df.failures import explain_failure
from continual_df.methods.base import Method
from continual_df.ranks import from_all
from continual_df.stop_signals import StopSignals
from continual_df.task import Rows, View


@dataclass(frozen=True)
class Extraction:
    """An `Extract`: runs the method over rows on the Trainer's device, at its precision, shared among its processes.

    Attributes:
        method: What predicts.
        data: Where the images come from; without augmentation.
        trainer: Runs the prediction.
        signals: Asked where a prediction fails: what ends the run may have ended a process that it needs, too.
    """

    method: Method
    data: StreamDataModule
    trainer: pl.Trainer
    signals: StopSignals

    def __call__(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        """Return `found`, refusing rows without a value.

        Raises:
            ConfigError: If a value is missing or NaN.
        """
        values = self.found(rows, fields, view)
        if any(value.isnan().any() for value in values.values()):
            raise ConfigError(
                "The end of a task needs a prediction of every row that it asks for, and some have none or NaN: remove "
                "trainer.limit_predict_batches and trainer.fast_dev_run, or lower the learning rate."
            )
        return values

    def found(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        """Return ``fields`` of the predictions for ``rows`` (of their ``view``), in their order, gathered from all processes.

        Rows that the Trainer was told to leave out (``limit_predict_batches``, ``fast_dev_run``) are NaN.

        Raises:
            TrainingError: If a data worker died, memory ran out or a file could not be read.
        """
        usual, self.method.predict_fields = self.method.predict_fields, fields
        self.method.predict_view = view
        try:
            parts = self.trainer.predict(self.method, datamodule=_RowsModule(self.data, rows)) or []
        except Exception as error:
            self.signals.act()
            explained = explain_failure(error, self.method.task, None, [])
            if explained is None:
                raise
            raise explained from error
        finally:
            self.method.predict_fields, self.method.predict_view = usual, None
        parts = [part for rank in from_all(parts) for part in rank]
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


class _RowsModule(pl.LightningDataModule):
    """Defers the loader until the Trainer has started its processes, so that each takes its share."""

    def __init__(self, data: StreamDataModule, rows: Rows) -> None:
        super().__init__()
        self.data, self.rows = data, rows

    def predict_dataloader(self) -> Any:  # noqa: ANN401
        return self.data.rows_dataloader(self.rows)
