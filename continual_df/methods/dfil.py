"""DFIL: replay of hard and central images, a contrastive loss, and two distillations from the last detector."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.feature_distillation import unit_feature_distillation
from continual_df.losses.isolation import IsolationLoss
from continual_df.losses.logit_distillation import binary_logit_distillation
from continual_df.methods.replay import Replay
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.ranks import rows_of_all
from continual_df.task import Batch, Task


class DFIL(Replay):
    """Replay, whose later tasks are held by what the last detector says of every row of a batch.

    ``loss = detection CE + contrastive SupCon(real, fake) + feature FD + logit (alpha KD + (1 - alpha) CE)``, all over current and
    remembered rows: SupCon pulls the features of a class together; FD is the mean squared difference of unit-length features from
    the teacher's, KD is ``T^2 KL(teacher || student)`` of the softened P(fake). The first task has no teacher.

    Pan et al., 2023, arXiv:2309.09526, with the weights of its released code (DeepFakeIL/DFIL). Differs from the code: the teacher
    is the detector as the last task left it (there it keeps its ImageNet weights and a random head), and the target of KD is a
    probability (there its logarithm).

    Args:
        detection: Weight of the cross-entropy; 0 switches a term off, here and below.
        contrastive: Weight of the contrastive loss.
        first_contrastive: The same in the first task.
        feature: Weight of the feature distillation.
        logit: Weight of the logit distillation.
        alpha: Share of KD in the logit distillation, in [0, 1].
        temperature: T of KD, positive.
        contrast_temperature: Of the contrastive loss, positive.
        **kwargs: Those of `Replay`; the rule of the memory should be `select_hard_central`.
    """

    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None

    def __init__(
        self,
        *,
        detection: float = 1.0,
        contrastive: float = 0.1,
        first_contrastive: float = 1.0,
        feature: float = 0.01,
        logit: float = 1.0,
        alpha: float = 0.3,
        temperature: float = 20.0,
        contrast_temperature: float = 1.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.detection, self.contrastive, self.first_contrastive = detection, contrastive, first_contrastive
        self.feature, self.logit, self.alpha, self.temperature = feature, logit, alpha, temperature
        self.contrast = IsolationLoss(contrast_temperature)
        self.teacher = self.teacher_head = None

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on."""
        features = self.detector(batch["image"])
        feature_BD = features.pooled_BD
        logit_B = self.fake_logit(feature_BD)
        detection = F.binary_cross_entropy_with_logits(logit_B, batch["label"].to(logit_B.dtype))
        contrastive = self.first_contrastive if self.teacher is None else self.contrastive
        terms = {}
        if self.detection:
            terms["detection"] = self.detection * detection
        if contrastive:
            counts_B = batch["weight"] > 0
            rows = (rows_of_all(x_B[counts_B]) for x_B in (feature_BD, batch["label"]))
            terms["contrastive"] = contrastive * self.contrast(*rows)
        if self.teacher is not None and self.teacher_head is not None and (self.feature or self.logit):
            teacher_BD = self.teacher(batch["image"]).pooled_BD
            if self.feature:
                terms["feature"] = self.feature * unit_feature_distillation(feature_BD, teacher_BD).mean()
            if self.logit:
                teacher_B = self.teacher_head(teacher_BD).squeeze(1)
                kd = binary_logit_distillation(logit_B, teacher_B, self.temperature).mean()
                terms["logit"] = self.logit * (self.alpha * kd + (1 - self.alpha) * detection)
        return {**terms, **self.detector.auxiliary_loss(features, batch)}
