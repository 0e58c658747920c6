"""What Lightning has gathered of the values that a fit logs by epoch; its checkpoints hold none of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pytorch_lightning import Trainer
from torch import Tensor

COMBINE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": torch.add,
    "sum": torch.add,
    "max": torch.maximum,
    "min": torch.minimum,
}
"""How two parts of a value become one; a mean is kept as sum and weight."""

Logged = dict[str, list[Any]]
"""Key of the value -> how it is reduced, what it has come to, and the weight of a mean."""


def logged_values(trainer: Trainer) -> Logged:
    """Return what this process has gathered in the epoch so far."""
    found: Logged = {}
    for key, metric in trainer.fit_loop.epoch_loop._results.items():
        meta = metric.meta
        kinds = {
            "mean": meta.is_mean_reduction,
            "sum": meta.is_sum_reduction,
            "max": meta.is_max_reduction,
            "min": meta.is_min_reduction,
        }
        kind = next((name for name, is_it in kinds.items() if is_it), None)
        if metric.is_tensor and meta.on_epoch and not metric.has_reset and kind is not None:
            weight = metric.cumulated_batch_size if kind == "mean" else torch.zeros(())
            found[key] = [kind, metric.value.cpu(), weight.cpu()]
    return found


def add_logged(trainer: Trainer, before: Logged) -> Logged:
    """Add ``before`` to what has begun to gather again, and return what has not begun yet."""
    results = trainer.fit_loop.epoch_loop._results
    left = {}
    for key, (kind, value, weight) in before.items():
        if key not in results or results[key].has_reset:
            left[key] = [kind, value, weight]
            continue
        metric = results[key]
        metric.value = COMBINE[kind](value.to(metric.value.device), metric.value)
        if kind == "mean":
            metric.cumulated_batch_size = weight.to(metric.value.device) + metric.cumulated_batch_size
        metric._computed = None
    return left


def combine_logged(parts: Sequence[Logged]) -> Logged:
    """Return what several processes have gathered together."""
    combined: Logged = {}
    for part in parts:
        for key, (kind, value, weight) in part.items():
            if key in combined:
                _, other, other_weight = combined[key]
                value, weight = COMBINE[kind](other, value), other_weight + weight
            combined[key] = [kind, value, weight]
    return combined
