"""Brick: replay with slow weights, whose further parts can be switched on one by one."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.data.sampler import Balance, Source
from continual_df.losses.feature_distillation import unit_feature_distillation
from continual_df.losses.isolation import IsolationLoss, domains_of
from continual_df.losses.part_mean import part_mean
from continual_df.methods.base import Prediction
from continual_df.methods.replay import Replay
from continual_df.models.alignment import align_heads
from continual_df.models.class_head import ClassHead, fake_against_real
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.heads import TaskHeads, fake_margin
from continual_df.models.ridge_head import RidgeHead
from continual_df.models.weight_average import WeightAverage
from continual_df.ranks import rows_of_all
from continual_df.task import Batch, Extract, Role, Rows, Task

Classifier = Literal["linear", "heads", "classes", "ridge"]


class Brick(Replay):
    """Experience replay with slow weights and a frozen early stage, and what others add, each at a weight of its own.

    ``loss = detection BCE + logit (z - z_remembered)^2 + feature ||u - u_teacher||^2 / D + isolation SupCon(domains)``, u features of unit
    length; the second and third are means over replayed rows. A part at 0 is off, and costs nothing.

    Slow weights: after each step ``slow <- d slow + (1 - d) fast`` with ``d = exp(-1 / (slow x steps of an epoch))``. In the first
    task, which has nothing to keep and moves far from random weights, d is 0: an average over weights so unlike one another
    has batch statistics of none of them. They predict, choose the memory, teach, and are what the next task starts from: of what was
    there before a task of E epochs, a share exp(-E / slow)
    stays.

    docs/brick.md says what each part brings.

    Args:
        classifier: ``linear``: one head; ``heads``: one for each task, each row learnt by its own, their mean logit predicts;
            ``classes``: one sigmoid for each class id, as iCaRL's (Rebuffi et al., 2017, arXiv:1611.07725), whose losses are summed;
            the logit of P(fake) is ``log sum_{c > 0} exp g_c - g_0``;
            ``ridge``: as linear while training, then ridge regression on the features of task and memory.
        slow: Time constant of the slow weights in epochs; 0: the trained weights themselves.
        frozen_stages: Early stages of the backbone that later tasks leave as the first one made them.
        balanced: Draw current rows equally often of both labels.
        detection: Weight of the detection loss.
        logit: Weight of the distance to the logits that images had when they were remembered.
        feature: Weight of the distance to the features of the detector as the last task left it.
        isolation: Weight of the isolation loss.
        align: Rate by which ``heads`` are turned towards one direction after each step.
        temperature: Of the isolation loss.
        **kwargs: Those of `Replay`.
    """

    teacher: FrozenCopy | None

    def __init__(
        self,
        *,
        classifier: Classifier = "linear",
        slow: float = 1.0,
        frozen_stages: int = 0,
        balanced: bool = False,
        detection: float = 1.0,
        logit: float = 0.0,
        feature: float = 0.0,
        isolation: float = 0.0,
        align: float = 0.0,
        temperature: float = 0.1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.classifier = classifier
        super().__init__(**kwargs)
        weights = {"detection": detection, "logit": logit, "feature": feature, "isolation": isolation, "align": align}
        for name, value in {"slow": slow, **weights}.items():
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if align and classifier != "heads":
            raise ValueError(f"align turns the heads of several tasks: it needs classifier heads, got {classifier}")
        self.time_constant, self.frozen_stages = slow, frozen_stages
        self.current_balance: Balance = "label" if balanced else "none"
        self.detection, self.logit, self.feature = detection, logit, feature
        self.isolation, self.align = isolation, align
        self.isolation_loss = IsolationLoss(temperature)
        self.slow = WeightAverage(self._fast) if slow else None
        self.ridge = RidgeHead(self.detector.num_features) if classifier == "ridge" else None
        self.teacher = None
        self.real_domains: list[int] = []
        if logit:
            self.memory.stored = ("fake_logit",)

    @property
    def _fast(self) -> nn.ModuleDict:
        """The detector and the head that are trained."""
        return nn.ModuleDict({"detector": self.detector, "head": self.head})

    @property
    def _predicts(self) -> tuple[Any, Any]:
        """The detector and the head that predict."""
        if self.slow is None:
            return self.detector, self.head
        slow: Any = self.slow.module
        return slow["detector"], slow["head"]

    def make_head(self) -> nn.Module:
        """Return one head, one for each task, or one output for each class."""
        if self.classifier == "classes":
            return ClassHead(self.detector.num_features)
        return TaskHeads(self.detector.num_features, 1) if self.classifier == "heads" else super().make_head()

    def begin_task(self, task: Task) -> None:
        """Go on from the slow weights, which are the teacher too; freeze early stages; add a head."""
        super().begin_task(task)
        if task.index > 0:
            if self.slow is not None:
                self._fast.load_state_dict(self.slow.module.state_dict())
            if self.feature:
                self.teacher = FrozenCopy(self.detector)
            if self.frozen_stages:
                self.detector.freeze_stages(self.frozen_stages)
            if self.ridge is not None:
                self.ridge.forget()
        if self.classifier == "heads":
            self.head.grow()
        if self.classifier == "classes":
            self.head.grow(max(task.class_ids.values()) + 1)
        if self.slow is not None:
            self.slow = WeightAverage(self._fast)
        self.real_domains.append(task.real_domain)

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return the current rows, balanced where asked, and the remembered ones."""
        current, *replayed = super().batch_plan(task, seen)
        return [Source(current.rows, current.per_batch, self.current_balance), *replayed]

    def forward(self, image: Tensor) -> Prediction:
        """Return what the slow weights say, or the ridge regression on their features once there is one."""
        detector, head = self._predicts
        feature_BD = detector(image).pooled_BD
        if self.ridge is not None and self.ridge.weight.any():
            return Prediction(self.ridge(feature_BD).squeeze(1), None, feature_BD)
        logit = head(feature_BD)
        return Prediction(self._mean_logit(logit), logit if self.classifier == "classes" else None, feature_BD)

    def decision_directions(self) -> Tensor:
        """Return (H, D): weights of the heads that predict."""
        _, head = self._predicts
        if self.classifier == "classes":
            weight_CD: Tensor = head.weight_CD.detach()
            return weight_CD[1:] - weight_CD[:1]
        weight: Tensor = head.weight_TCD[:, 0] if self.classifier == "heads" else head.weight
        return weight.detach()

    def _mean_logit(self, logit: Tensor) -> Tensor:
        """Return (B,) logits of P(fake) of one head or of all classes, or the mean of those of all heads."""
        if self.classifier == "classes":
            return fake_against_real(logit)
        return fake_margin(logit).mean(dim=1) if self.classifier == "heads" else logit.squeeze(1)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on."""
        features = self.detector(batch["image"])
        feature_BD = features.pooled_BD
        logit = self.head(feature_BD)
        own_B = self._mean_logit(logit)
        if self.classifier == "heads":  # each row learns by the head of its task
            own_B = fake_margin(logit)[torch.arange(len(logit)), batch["task"]]
        if self.classifier == "classes":
            own_BC = F.one_hot(batch["method"], logit.shape[1]).to(logit.dtype)
            detection = F.binary_cross_entropy_with_logits(logit, own_BC, reduction="none").sum(dim=1).mean()
        else:
            detection = F.binary_cross_entropy_with_logits(own_B, batch["label"].to(own_B.dtype))
        terms = {"detection": self.detection * detection}
        replayed_B = batch["role"] == Role.REPLAY
        if self.logit and self.memory.rows.num:
            was_R = self.memory.lookup("fake_logit", batch["sample"][replayed_B])
            distance_R = (self._mean_logit(logit)[replayed_B] - was_R).square()
            terms["logit"] = self.logit * part_mean(distance_R, batch["weight"])
        if self.teacher is not None:
            teacher_RD = self.teacher(batch["image"][replayed_B]).pooled_BD
            distance_R = unit_feature_distillation(feature_BD[replayed_B], teacher_RD)
            terms["feature"] = self.feature * part_mean(distance_R, batch["weight"])
        if self.isolation:
            terms["isolation"] = self.isolation * self._isolation(feature_BD, batch)
        return {**terms, **self.detector.auxiliary_loss(features, batch)}

    def _isolation(self, feature_BD: Tensor, batch: Batch) -> Tensor:
        """Return the isolation loss over the rows of all processes."""
        domain_B = domains_of(batch["label"], batch["task"], self.real_domains)
        kept_B = batch["weight"] > 0
        loss: Tensor = self.isolation_loss(rows_of_all(feature_BD[kept_B]), rows_of_all(domain_B[kept_B]))
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Step, align the heads, and let the slow weights follow."""
        super().optimizer_step(*args, **kwargs)
        if self.align:
            self.head.set_weights(align_heads(self.head.weight_TCD.detach(), self.align))
        if self.slow is not None:
            steps = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
            first = self.task is None or self.task.index == 0
            decay = 0.0 if first else math.exp(-1 / (self.time_constant * steps))
            self.slow.follow(self._fast, decay)

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Let the memory choose, and fit the ridge regression to the features of the task and of the memory."""
        self.memory.update(rows, extract)
        if self.ridge is not None:
            new = rows.pick(~torch.isin(rows.sample, self.memory.rows.sample))
            known = Rows.concat([self.memory.rows, new])
            feature_ND = extract(known, ("features",))["features"]
            self.ridge.fit(feature_ND, known.label, 2 * known.task + known.label)
