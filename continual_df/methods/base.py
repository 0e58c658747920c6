"""The method contract: one fit is one task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import BinaryAUROC

from continual_df.data.sampler import Source
from continual_df.errors import NonFiniteLossError
from continual_df.models.detector import Detector
from continual_df.task import Batch, Extract, Pairs, Rows, Task, View


class Prediction(NamedTuple):
    """What a method says of B images.

    Attributes:
        fake_logit: (B,) logit of P(fake).
        method_logits: (B, C) logits over class ids, or None where the method attributes nothing.
        features: (B, D) pooled features.
        novelty: (B,) how unlike all known methods an image is, in [0, 1], or None where the method cannot tell.
    """

    fake_logit: Tensor
    method_logits: Tensor | None
    features: Tensor
    novelty: Tensor | None = None


class Method(pl.LightningModule):
    """A detector with a head; a subclass says what is in a batch, what the loss is and, where one is not enough, the heads.

    The optimizer and the schedule are made anew for each task. State is tensors and plain values, so a checkpoint
    loads with ``weights_only=True``; the run folder's ``config.yaml`` is the recipe.

    Args:
        detector: Image encoder.
        optimizer: Optimizer over the trainable parameters.
        lr_scheduler: Schedule over the epochs of one task.
        batch_size: Current rows in each batch (over all processes).
        compile: Compile the detector with ``torch.compile``.
    """

    head: Any  # the module that make_head returns; calls of a plain nn.Module have no type

    def __init__(
        self,
        detector: Detector,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        batch_size: int = 32,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.detector = detector
        self.head = self.make_head()
        self.optimizer, self.lr_scheduler, self.batch_size = optimizer, lr_scheduler, batch_size
        self.predict_fields: tuple[str, ...] = ("fake_logit", "method_logits", "novelty")
        self.predict_view: View | None = None
        self.task: Task | None = None
        self.pairs: Pairs | None = None  # those of the last step, of methods that make some
        self.unlabelled: list[
            Rows
        ] = []  # those of each task so far, as validation; the loop tells them before meet_task
        self.validation: list[Rows] = []
        self.val_auc, self.val_share, self.val_loss = BinaryAUROC(), MeanMetric(), MeanMetric()
        if compile:
            detector.compile()  # in place: the keys of the state dict stay

    def make_head(self) -> nn.Module:
        """Return what turns features into logits; one linear layer for P(fake) by default."""
        return nn.Linear(self.detector.num_features, 1)

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) logits of P(fake)."""
        logit: Tensor = self.head(feature_BD).squeeze(1)
        return logit

    def decision_directions(self) -> Tensor:
        """Return (H, D): normals of the decision planes of the H heads, towards fake; H is 0 where there are none."""
        weight: Tensor = self.head.weight
        return weight.detach()

    def begin_task(self, task: Task) -> None:
        """Get ready for ``task``: grow heads, freeze a teacher.

        `restore` calls it for tasks that were trained elsewhere, before it loads what came of them: the shapes of the
        state must follow from the tasks alone.
        """
        self.task = task

    def meet_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Look at the training rows of a task that has begun and is not trained yet; nothing by default."""

    def restore(self, tasks: Sequence[Task], state: dict[str, Any]) -> None:
        """Become what the method was after ``tasks``.

        Args:
            tasks: All tasks that it has been trained on, in order.
            state: Its state dict after the last of them.
        """
        for task in tasks:
            self.begin_task(task)
        self.load_state_dict(state)

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return the sources of every batch.

        Args:
            task: The task that begins.
            seen: Training rows of each task so far; the last are the current ones.
        """
        return [Source(seen[-1], self.batch_size)]

    def validation_rows(self) -> Rows:
        """Return the rows on which training is validated: those of the current task."""
        return self.validation[-1]

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Select memory and prototypes from the task's training ``rows``; nothing by default."""

    def notes(self) -> dict[str, Any]:
        """Return what the run folder keeps of the task that has ended beside its checkpoint: JSON content by file name."""
        return {}

    def forward(self, image: Tensor) -> Prediction:
        """Return what the method says of ``image`` (B, C, H, W) in [0, 1]."""
        features = self.detector(image).pooled_BD
        return Prediction(self.fake_logit(features), None, features)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch by name, each a mean over its rows; the step's loss is their sum.

        The names are the same in every process, whatever rows it has.
        """
        features = self.detector(batch["image"])
        logit = self.fake_logit(features.pooled_BD)
        detection = F.binary_cross_entropy_with_logits(logit, batch["label"].to(logit.dtype))
        return {"detection": detection, **self.detector.auxiliary_loss(features, batch)}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, so weighted that its mean over processes is that of the global batch.

        Raises:
            NonFiniteLossError: With task, step and sample rows.
        """
        terms = self.losses(batch)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            values = ", ".join(f"{name} {value.item():g}" for name, value in terms.items())
            task = f"task {self.task.number} ('{self.task.name}'), " if self.task else ""
            raise NonFiniteLossError(
                f"The loss is not finite in {task}step {self.global_step} ({values}); sample rows "
                f"{batch['sample'].tolist()}. Lower the learning rate, or set trainer.gradient_clip_val."
            )
        # Lightning averages the number of rows over processes, and of an integer it drops the fraction
        rows: Any = (batch["weight"] > 0).sum().float()
        settings: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True, "batch_size": rows}
        self.log("train/loss", loss.detach(), prog_bar=True, **settings)
        for name, value in terms.items():
            self.log(f"train/loss/{name}", value.detach(), **settings)
        return loss * batch["weight"].mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the scores of the current task's validation split."""
        self.collect(batch)

    def collect(self, batch: Batch) -> Prediction:
        """Return what the method says of a batch of the validation split, when its scores are collected."""
        prediction: Prediction = self(batch["image"])
        logit = prediction.fake_logit.float()
        label, weight = batch["label"], batch["weight"]
        loss_B = F.binary_cross_entropy_with_logits(logit, label.to(logit.dtype), reduction="none")
        self.val_loss.update(loss_B, weight)
        self.log("val/loss", self.val_loss)
        self.val_auc.update(logit[weight > 0].sigmoid(), label[weight > 0])
        self.val_share.update(label.float(), weight)
        return prediction

    def on_validation_epoch_end(self) -> None:
        """Log the AUC, where both classes are there."""
        if 0 < self.val_share.compute() < 1:
            self.log("val/auc", self.val_auc.compute(), prog_bar=True, sync_dist=True)
        self.val_auc.reset()
        self.val_share.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``sample`` and the fields named by ``predict_fields``, float32 on the CPU."""
        image = batch["image"]
        prediction = self(image if self.predict_view is None else self.predict_view(image, batch["sample"]))
        fields = {name: getattr(prediction, name) for name in self.predict_fields}
        out = {name: value.float().cpu() for name, value in fields.items() if value is not None}
        return {"sample": batch["sample"].cpu(), **out}

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Return a fresh optimizer over the trainable parameters, and its schedule."""
        optimizer = self.optimizer(parameter for parameter in self.parameters() if parameter.requires_grad)
        if self.lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.lr_scheduler(optimizer)}}
