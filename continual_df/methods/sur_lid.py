"""SUR-LID: sparse uniform replay and a detector whose domains lie side by side in feature space."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.data.sampler import Source
from continual_df.losses.feature_distillation import feature_distillation, unit_feature_distillation
from continual_df.losses.isolation import IsolationLoss, domains_of
from continual_df.losses.logit_distillation import logit_distillation
from continual_df.losses.part_mean import part_mean
from continual_df.losses.refill import refill, refill_released
from continual_df.methods.replay import Replay
from continual_df.models.alignment import RELEASED_RATES, align_heads, align_heads_released
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.heads import TaskHeads, fake_margin
from continual_df.ranks import rows_of_all
from continual_df.task import Batch, Extract, Role, Rows, Task


class _Weights(NamedTuple):
    detection: float
    isolation: float
    feature: float
    logit: float


ALIGNED_FROM = 2
"""First epoch, from 0, in which the released code aligns: its rule is ``epoch > align_epoch``, with 1."""

_REFILL = {"paper": refill, "released": refill_released}
_WEIGHTS = {"paper": _Weights(0.1, 1.0, 1.0, 0.0), "released": _Weights(1.0, 0.4, 10.0, 1.0)}


class SURLID(Replay):
    """One head a task on isolated domains; old ones are kept by replay, re-filling, distillation and alignment.

    ``loss = detection CE(own head) + isolation SupCon(domains) + feature ||f - f_teacher||^2 / D + logit (.3 KD + .7 CE)``; the last two are means
    over replayed rows, against the detector as the last task left it. After each optimizer step the heads are aligned. P(fake) is
    the softmax of the mean logits of all heads; no task is asked for.

    Cheng et al., 2025, arXiv:2411.11396. ``variant: paper`` has its formulas: weights .1, 1, 1, 0, features re-filled beside the
    replayed ones, head t turned towards head t-1. ``variant: released`` has those of its code: weights 1, .4 (4 times the
    temperature .1), 10, 1, features of unit length, isolation from the second task on, re-filled features in place of the
    replayed ones, each head turned towards the one least like it from the third epoch on. Differs from the code: heads are
    trained and saved, the teacher keeps its batch statistics, the optimizer is fresh in each task, the logit teacher's target is a
    probability, any number of tasks and replayed rows. Differs from the paper's formula: the squared distance of features is
    averaged over their D dimensions; their sum holds the detector so fast that it hardly learns (docs/brick.md).

    Args:
        memory: Replay memory; its rule should be `SparseUniform`.
        variant: Which formulas.
        replay_per_domain: Replayed rows of each real or fake domain of each old task in a batch.
        replay_per_batch: Replayed rows in a batch, shared by the domains, in place of ``replay_per_domain``.
        detection: Weight of the detection loss; None, here and below: that of the variant. 0 switches a part off.
        isolation: Weight of the isolation loss.
        feature: Weight of the feature distillation.
        logit: Weight of the logit distillation.
        refill: Whether replayed features are re-filled before the isolation loss.
        align: Rate by which the heads are turned in a step, .001 in the paper; in the variant ``released`` a factor to the code's
            own rates (.01 for the newest head, less for older ones).
        temperature: Of the isolation loss.
        **kwargs: Those of `Replay`.
    """

    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None
    centroid_TLD: Tensor

    def __init__(
        self,
        *,
        variant: Literal["paper", "released"] = "paper",
        replay_per_domain: int = 3,
        replay_per_batch: int | None = None,
        detection: float | None = None,
        isolation: float | None = None,
        feature: float | None = None,
        logit: float | None = None,
        refill: bool = True,
        align: float | None = None,
        temperature: float = 0.1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(replay_per_batch=1 if replay_per_batch is None else replay_per_batch, **kwargs)
        if replay_per_domain < 1:
            raise ValueError(f"replay_per_domain must be at least 1, got {replay_per_domain}")
        usual = _WEIGHTS[variant]._asdict()
        given = {"detection": detection, "isolation": isolation, "feature": feature, "logit": logit}
        self.weights = _Weights(**{name: usual[name] if value is None else value for name, value in given.items()})
        self.variant, self.refill = variant, refill
        self.align = {"paper": 0.001, "released": 1.0}[variant] if align is None else align
        self.replay_per_domain, self.shared = replay_per_domain, replay_per_batch is not None
        self.isolation_loss = IsolationLoss(temperature)
        self.teacher = self.teacher_head = None
        self.real_domains: list[int] = []
        self.register_buffer("centroid_TLD", torch.zeros(0, 2, self.detector.num_features))

    def make_head(self) -> TaskHeads:
        """Return one two-way head for each task."""
        return TaskHeads(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher, and add a head and two centroids."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)
        self.head.grow()
        self.real_domains.append(task.real_domain)
        self.centroid_TLD = F.pad(self.centroid_TLD, (0, 0, 0, 0, 0, 1))

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return the current rows and the replayed ones, equally many of each domain."""
        if not self.shared:
            rows = self.memory.rows
            self.replay_per_batch = self.replay_per_domain * len(
                {*zip(rows.task.tolist(), rows.label.tolist(), strict=True)}
            )
        return super().batch_plan(task, seen)

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) fake minus real of the mean logits of all heads."""
        return fake_margin(self.head(feature_BD).mean(dim=1))

    def decision_directions(self) -> Tensor:
        """Return (T, D): fake minus real weights of each head."""
        weight_TCD: Tensor = self.head.weight_TCD.detach()
        return weight_TCD[:, 1] - weight_TCD[:, 0]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on."""
        features = self.detector(batch["image"])
        feature_BD, weight = features.pooled_BD, self.weights
        logit_BC = self.head(feature_BD)[torch.arange(len(feature_BD)), batch["task"]]  # each row's own head
        replayed_B = batch["role"] == Role.REPLAY
        terms = {}
        if weight.detection:
            terms["detection"] = weight.detection * F.cross_entropy(logit_BC, batch["label"])
        if weight.isolation and (self.teacher is not None or self.variant == "paper"):
            terms["isolation"] = weight.isolation * self._isolation(feature_BD, replayed_B, batch)
        if self.teacher is not None and (weight.feature or weight.logit):
            teacher_RD = self.teacher(batch["image"][replayed_B]).pooled_BD
            if weight.feature:
                distil = feature_distillation if self.variant == "paper" else unit_feature_distillation
                terms["feature"] = weight.feature * part_mean(
                    distil(feature_BD[replayed_B], teacher_RD), batch["weight"]
                )
            if weight.logit and self.teacher_head is not None:
                own_R = (torch.arange(len(teacher_RD)), batch["task"][replayed_B])
                kd_R = logit_distillation(logit_BC[replayed_B], self.teacher_head(teacher_RD)[own_R], 20.0)
                ce_R = F.cross_entropy(logit_BC[replayed_B], batch["label"][replayed_B], reduction="none")
                terms["logit"] = weight.logit * part_mean(0.3 * kd_R + 0.7 * ce_R, batch["weight"])
        return {**terms, **self.detector.auxiliary_loss(features, batch)}

    def _isolation(self, feature_BD: Tensor, replayed_B: Tensor, batch: Batch) -> Tensor:
        """Return the isolation loss over the rows of all processes and what replayed ones are re-filled with."""
        domain_B = domains_of(batch["label"], batch["task"], self.real_domains)
        if self.variant == "released":
            feature_BD = F.normalize(feature_BD, dim=1)
        kept_B = batch["weight"] > 0
        parts = [(feature_BD[kept_B], domain_B[kept_B])]
        if self.refill and self.teacher is not None:
            centroid_RD = self.centroid_TLD[batch["task"][replayed_B], batch["label"][replayed_B]]
            filled_RD = _REFILL[self.variant](feature_BD[replayed_B], domain_B[replayed_B], centroid_RD)
            if self.variant == "released":  # in place of the replayed ones
                kept_B = kept_B & ~replayed_B
            parts = [(feature_BD[kept_B], domain_B[kept_B]), (filled_RD, domain_B[replayed_B])]
        feature_ND, domain_N = (torch.cat(part) for part in zip(*parts, strict=True))
        loss: Tensor = self.isolation_loss(rows_of_all(feature_ND), rows_of_all(domain_N))
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Step, then align the heads: once for each step of the optimizer, however many batches it gathered."""
        super().optimizer_step(*args, **kwargs)
        if not self.align or (self.variant == "released" and self.current_epoch < ALIGNED_FROM):
            return
        with torch.no_grad():
            weight_TCD = self.head.weight_TCD
            if self.variant == "paper":
                self.head.set_weights(align_heads(weight_TCD, self.align))
            else:
                self.head.set_weights(align_heads_released(weight_TCD, tuple(self.align * r for r in RELEASED_RATES)))

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Select the memory, and keep the centroid of the task's reals and of its fakes."""
        seen = self.memory.update(rows, extract)
        if seen.feature_ND is None:
            feature_ND = extract(rows, ("features",))["features"]
        else:  # those of returning reals that were in memory are not among them
            rows, feature_ND = seen.rows, seen.feature_ND
        for label in (0, 1):
            own_N = (rows.task == task.index) & (rows.label == label)
            if own_N.any():
                self.centroid_TLD[task.index, label] = feature_ND[own_N].mean(dim=0).to(self.centroid_TLD)
