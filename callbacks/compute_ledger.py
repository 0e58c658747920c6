"""Charges the steps of a Trainer to the ledger, and ends training where a budget of FLOPs does."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info

from continual_df.cost import NOT_LEARNING
from continual_df.errors import ConfigError
from continual_df.ledger import Ledger
from continual_df.task import Batch, Role


class ComputeLedger(Callback):
    """Opens the phases ``train``, ``replay``, ``validate`` and ``predict`` of a ledger around Lightning's steps.

    A training step (forward, backward, optimizer) costs ``train`` and ``replay`` in proportion to their rows; phases
    that the method opens inside it keep what is theirs. Inside a phase that is open around the Trainer (``selection``,
    ``search``) everything is that phase's. Waiting for data, checkpoints and loggers are in no phase: so neither FLOPs
    nor the work of a transform depend on the number of workers. A module's own ``on_train_batch_end`` comes after the
    step: work there needs a phase of its own.

    The first step of each key is counted operator by operator, the others cost the same. The key is the shapes in the
    batch, the number of rows of each role, training mode and which parameters are trainable, per call of the Trainer. A
    method that does more in some steps at an equal key (every tenth, say) needs ``Ledger(count_every_step=True)``.

    ``max_flops`` only caps. To compare methods at equal compute, give them one cap and a ``max_epochs`` that none of them
    reaches. What is capped is what the learner spends: all phases but ``validate``, ``predict`` and ``pretrain``, over all processes
    (taken as equal). Training ends with the step that reaches the cap, so it is passed by less than one step (one batch,
    under gradient accumulation: what the last few batches had gathered is then dropped).

    Args:
        ledger: Where costs go; the loop sets its `task`.
        max_flops: FLOPs of one task, or None.
        max_flops_total: FLOPs of all tasks so far, or None. Once spent, later tasks train no step.

    Raises:
        ConfigError: At fit, if a cap comes with ``min_epochs`` or ``min_steps``, which Lightning puts above any stop.
    """

    across_tasks = True

    def __init__(self, ledger: Ledger, max_flops: float | None = None, max_flops_total: float | None = None) -> None:
        for name, value in (("max_flops", max_flops), ("max_flops_total", max_flops_total)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: it must be positive")
        self.ledger = ledger
        self.max_flops = max_flops
        self.max_flops_total = max_flops_total
        self._parameters: list[torch.nn.Parameter] = []
        self._running = False
        self._in_step = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count anew what this call's model costs, and nothing between its steps."""
        capped = self.max_flops is not None or self.max_flops_total is not None
        if stage == "fit" and capped and (trainer.min_epochs or trainer.min_steps):
            raise ConfigError(
                f"max_flops cannot hold with min_epochs={trainer.min_epochs} and min_steps={trainer.min_steps}: "
                "Lightning trains that long whatever stops it. Remove them, or the budget."
            )
        self.ledger.forget_steps()
        self.ledger.pause()
        self._running = True

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the ledger back to whoever called the Trainer."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Charge what the broken step has run."""
        self._leave()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what trains; train no step if the budget is spent."""
        self.ledger.devices.add(_device_name(trainer.strategy.root_device))
        self._check_budget(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """List the parameters; going through the modules in every step would take longer than the rest."""
        self._parameters = list(pl_module.parameters())

    on_train_epoch_start = on_train_start

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Open a step."""
        started = time.perf_counter()  # reading the roles waits for a CUDA device that still works on the last step
        role = batch["role"].tolist()
        replay, unlabelled = role.count(Role.REPLAY), role.count(Role.UNLABELLED)
        trainable = tuple([parameter.requires_grad for parameter in self._parameters])
        key = ("train", _shapes(batch), replay, unlabelled, pl_module.training, trainable)
        self._open({"train": len(role) - replay, "replay": replay} if replay else {"train": len(role)}, key, started)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  whatever the step returned
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Close the step, and end training if it has reached the budget."""
        self._close()
        self._check_budget(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close a step that the module skipped by returning -1."""
        self._close(complete=False)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Open a step."""
        self._open_evaluation("validate", pl_module, batch)

    def on_validation_batch_end(self, *_: object, **__: object) -> None:
        """Close the step."""
        self._close()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log ``compute/flops``, what the run has spent to learn so far: beside the scores, it makes curves over compute."""
        spent = self.ledger.cost(but=NOT_LEARNING).flops
        # before a fit too, where Lightning writes nothing: a resumed fit must log its metrics in the same order
        pl_module.log("compute/flops", spent, sync_dist=True, reduce_fx="sum")

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Open a step."""
        self._open_evaluation("predict", pl_module, batch)

    def on_predict_batch_end(self, *_: object, **__: object) -> None:
        """Close the step."""
        self._close()

    on_test_batch_start = on_predict_batch_start
    on_test_batch_end = on_predict_batch_end

    def _open_evaluation(self, phase: str, pl_module: LightningModule, batch: Batch) -> None:
        self._open({phase: len(batch["image"])}, (phase, _shapes(batch), pl_module.training))

    def _open(self, rows: dict[str, int], key: Hashable, since: float | None = None) -> None:
        self.ledger.open_step(rows, key, since)
        self._in_step = True

    def _close(self, complete: bool = True) -> None:
        if self._in_step:
            self.ledger.close_step(complete)
            self._in_step = False

    def _leave(self) -> None:
        self._close(complete=False)
        if self._running:
            self.ledger.resume()
            self._running = False

    def _check_budget(self, trainer: Trainer) -> None:
        budgets = (
            ("max_flops", self.max_flops, self.ledger.task),
            ("max_flops_total", self.max_flops_total, None),
        )
        for name, budget, task in budgets:
            if budget is None or trainer.should_stop:
                continue
            spent = self.ledger.cost(task, but=NOT_LEARNING).flops * trainer.world_size
            # One answer for all processes, or those that go on would wait for those that stopped.
            if trainer.strategy.reduce_boolean_decision(spent >= budget, all=False):
                trainer.should_stop = True
                rank_zero_info(
                    f"Task {self.ledger.task}: training ends at step {trainer.global_step}, {name}={budget:.4g} is "
                    f"spent ({spent:.4g} FLOPs)."
                )


def _shapes(batch: Batch) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple([(name, tuple(value.shape)) for name, value in batch.items() if isinstance(value, torch.Tensor)])


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
