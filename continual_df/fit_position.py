"""What Lightning's checkpoints leave out of a fit that is in the middle of an epoch."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torchmetrics import Metric

from continual_df.logged_values import Logged, combine_logged, logged_values
from continual_df.ranks import from_all, rank_and_size


def fit_position(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """Return it as tensors and plain values, when a batch begins; all processes must call it."""
    fit_loop: Any = trainer.fit_loop  # its progress is not typed
    return {
        "processes": from_all({"logged": logged_values(trainer), "metrics": _metric_states(module)}),
        "callback_metrics": {name: value.cpu() for name, value in trainer.callback_metrics.items()},
        "batches_that_stepped": fit_loop.epoch_loop._batches_that_stepped,
        "total_ready": fit_loop.epoch_loop.batch_progress.total.completed + 1,
        "should_stop": trainer.should_stop,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "reloaded": [fit_loop._last_train_dl_reload_epoch, fit_loop.epoch_loop.val_loop._last_val_dl_reload_epoch],
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
        "training": [part.training for part in module.modules()],
    }


def set_fit_position(trainer: Trainer, module: LightningModule, position: dict[str, Any]) -> Logged:
    """Go back to ``position`` when the first batch begins, and return what had been logged in the epoch.

    Lightning calls no ``on_train_epoch_start`` in mid-epoch, so what that hook may have done comes from there too. Where the
    number of processes has changed, the first takes what all have logged, and its own metrics.
    """
    fit_loop: Any = trainer.fit_loop
    fit_loop.epoch_loop._batches_that_stepped = position["batches_that_stepped"]
    fit_loop.epoch_loop.batch_progress.total.ready = position["total_ready"]
    fit_loop._last_train_dl_reload_epoch, fit_loop.epoch_loop.val_loop._last_val_dl_reload_epoch = position["reloaded"]
    trainer.should_stop = position["should_stop"]
    trainer.accumulate_grad_batches = position["accumulate_grad_batches"]
    for parameter, requires_grad in zip(module.parameters(), position["requires_grad"], strict=True):
        parameter.requires_grad = requires_grad
    for part, training in zip(module.modules(), position["training"], strict=True):
        part.training = training
    metrics = {name: value.to(module.device) for name, value in position["callback_metrics"].items()}
    trainer.callback_metrics.update(metrics)
    rank, size = rank_and_size()
    processes = position["processes"]
    if size == len(processes):
        _set_metric_states(module, processes[rank]["metrics"])
        logged: Logged = processes[rank]["logged"]
        return logged
    if rank:
        return {}
    _set_metric_states(module, processes[0]["metrics"])
    return combine_logged([process["logged"] for process in processes])


def move_checkpoints(checkpoint: dict[str, Any], before: str, now: str) -> None:
    """Let the ModelCheckpoints of ``checkpoint`` find below ``now`` what they had below the folder ``before``.

    One that is told another folder than it wrote into forgets its best.
    """

    def moved(path: Any) -> Any:  # noqa: ANN401  a path, or None
        inside = isinstance(path, str) and (path == before or path.startswith(f"{before}/"))
        return now + path[len(before) :] if inside else path

    for saved in checkpoint["callbacks"].values():
        if "best_model_path" in saved:
            for name in ("dirpath", "best_model_path", "kth_best_model_path", "last_model_path"):
                saved[name] = moved(saved.get(name))
            saved["best_k_models"] = {moved(path): score for path, score in saved.get("best_k_models", {}).items()}


def _metric_states(module: LightningModule) -> dict[str, dict[str, Any]]:
    """Return the states of the metrics in ``module`` that have seen something."""
    return {
        name: {"count": metric._update_count, "state": _on(metric.metric_state, "cpu")}
        for name, metric in module.named_modules()
        if isinstance(metric, Metric) and metric.update_called
    }


def _set_metric_states(module: LightningModule, states: dict[str, dict[str, Any]]) -> None:
    for name, metric in module.named_modules():
        if name in states:
            assert isinstance(metric, Metric)
            for key, value in _on(states[name]["state"], metric.device).items():
                setattr(metric, key, value)
            metric._update_count, metric._computed = states[name]["count"], None


def _on(state: dict[str, Any], device: torch.device | str) -> dict[str, Any]:
    """Return the state of a metric, whose values are tensors or lists of them, on ``device``."""
    return {
        key: [item.to(device) for item in value] if isinstance(value, list) else value.to(device)
        for key, value in state.items()
    }
