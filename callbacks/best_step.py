"""Keeps the weights of the best validation of a fit, and what every validation gave."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from continual_df.cost import NOT_LEARNING
from continual_df.errors import ConfigError
from continual_df.ledger import Ledger
from continual_df.stop_signals import StopSignals


class Point(NamedTuple):
    """One validation: epoch, optimizer steps, the value, and what the run had spent to learn by then."""

    epoch: int
    step: int
    value: float
    flops: float


class BestStep(Callback):
    """Watches one logged metric, keeps the weights of its best value in memory, and may break the fit off.

    Args:
        monitor: The metric.
        mode: Whether the largest or the smallest value is best.
        ledger: What the run has spent.
        signals: Lightning's handlers are replaced by these again.
        prune: Told each value and its number; whether the fit should end here.

    Attributes:
        curve: All validations so far.
        best: The best value, None before the first.
        weights: State dict of the module at the best value, on the CPU.
        pruned: Whether the fit was broken off.

    Raises:
        ConfigError: If the metric is not logged.
    """

    def __init__(
        self,
        monitor: str,
        mode: Literal["max", "min"],
        ledger: Ledger,
        signals: StopSignals,
        prune: Callable[[float, int], bool],
    ) -> None:
        self.monitor, self.mode, self.ledger, self.signals, self.prune = monitor, mode, ledger, signals, prune
        self.curve: list[Point] = []
        self.best: float | None = None
        self.weights: dict[str, object] = {}
        self.pruned = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal stop the trial at once: it begins again when the run is resumed."""
        self.signals.take_back()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the value.

        Raises:
            ConfigError: If there is none.
        """
        if trainer.sanity_checking:
            return
        if self.monitor not in trainer.callback_metrics:
            raise ConfigError(
                f"search.monitor is '{self.monitor}', which no validation has logged; there are "
                f"{', '.join(sorted(name for name in trainer.callback_metrics if name.startswith('val/')))}."
            )
        value = float(trainer.callback_metrics[self.monitor])
        spent = self.ledger.cost(but=NOT_LEARNING).flops * trainer.world_size
        self.curve.append(Point(trainer.current_epoch, trainer.global_step, value, spent))
        if not math.isfinite(value):
            return
        sign = 1 if self.mode == "max" else -1
        if self.best is None or sign * value > sign * self.best:
            self.best, self.weights = value, copied(pl_module.state_dict())
        # one answer for all processes: the values are those of all of them
        if self.prune(value, len(self.curve) - 1):
            self.pruned = trainer.should_stop = True


def copied(state: dict[str, object]) -> dict[str, object]:
    """Return a state dict whose tensors are copies on the CPU, those in extra states too."""
    return {name: _copied(value) for name, value in state.items()}


def _copied(value: object) -> object:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.preserve_format)
    return copied(value) if isinstance(value, dict) else value
