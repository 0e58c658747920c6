"""CoReD: no memory; a teacher's answers, and its mean features by class and confidence, are kept."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.confidence_cells import NUM_CELLS, cell_distance, cell_sums
from continual_df.losses.logit_distillation import binary_logit_distillation
from continual_df.methods.base import Method
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.ranks import rows_of_all
from continual_df.task import Batch, Task


class CoReD(Method):
    """Continual representation by distillation: the new task's images alone, seen by the detector and by its last state.

    ``loss = detection CE + logit (alpha KD + (1 - alpha) CE) + representation sum_k |mean_k - teacher_mean_k|^2 / D``: KD is
    ``T^2 KL(teacher || student)`` of the softened P(fake); k runs over real and fake times five bins of confidence among rows that
    are called right, ``mean_k`` is the student's mean feature of such rows of the batch, ``teacher_mean_k`` the teacher's of the
    task's rows so far. The first task has no teacher.

    Kim et al., 2021, arXiv:2107.02408, with the weights of the released code (alsgkals2/CoReD). Differs from the code: features are
    the pooled ones (there the channel mean of a max-pooled map, one number at 128 px); the teacher's means gather while the task
    trains, from the pass that KD needs anyway, instead of in a pass before; confidence is that of the training pass (there a pass
    that leaves the student in evaluation mode); no CutMix; no choice of the best epoch over all tasks.

    Args:
        detection: Weight of the cross-entropy; 0 switches a term off, here and below.
        logit: Weight of the logit distillation.
        representation: Weight of the representation loss.
        alpha: Share of KD in the logit distillation, in [0, 1].
        temperature: T of KD, positive.
        **kwargs: Those of `Method`.
    """

    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None
    bank_sum_KD: Tensor
    bank_count_K: Tensor

    def __init__(
        self,
        *,
        detection: float = 1.0,
        logit: float = 1.0,
        representation: float = 1.0,
        alpha: float = 0.5,
        temperature: float = 20.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.detection, self.logit, self.representation = detection, logit, representation
        self.alpha, self.temperature = alpha, temperature
        self.teacher = self.teacher_head = None
        self.register_buffer("bank_sum_KD", torch.zeros(NUM_CELLS, self.detector.num_features))
        self.register_buffer("bank_count_K", torch.zeros(NUM_CELLS))

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher, and empty the bank of its means."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)
        self.bank_sum_KD.zero_()
        self.bank_count_K.zero_()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on; in training, what the teacher sees is added to its means."""
        features = self.detector(batch["image"])
        logit_B = self.fake_logit(features.pooled_BD)
        detection = F.binary_cross_entropy_with_logits(logit_B, batch["label"].to(logit_B.dtype))
        terms = {}
        if self.detection:
            terms["detection"] = self.detection * detection
        if self.teacher is not None and self.teacher_head is not None and (self.logit or self.representation):
            teacher_BD = self.teacher(batch["image"]).pooled_BD
            teacher_B = self.teacher_head(teacher_BD).squeeze(1)
            if self.logit:
                kd = binary_logit_distillation(logit_B, teacher_B, self.temperature).mean()
                terms["logit"] = self.logit * (self.alpha * kd + (1 - self.alpha) * detection)
            if self.representation:
                if self.training:  # like batch statistics
                    self._add_to_bank(teacher_BD, teacher_B, batch)
                own = self._sums(features.pooled_BD, logit_B.detach(), batch)
                terms["representation"] = self.representation * cell_distance(*own, self.bank_sum_KD, self.bank_count_K)
        return {**terms, **self.detector.auxiliary_loss(features, batch)}

    @torch.no_grad()
    def _add_to_bank(self, teacher_BD: Tensor, teacher_B: Tensor, batch: Batch) -> None:
        """Add the teacher's features of the batch."""
        sum_KD, count_K = self._sums(teacher_BD.float(), teacher_B, batch)
        self.bank_sum_KD += sum_KD
        self.bank_count_K += count_K

    def _sums(self, feature_BD: Tensor, logit_B: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return `cell_sums` over the batches of all processes."""
        counts_B = batch["weight"] > 0
        return cell_sums(*(rows_of_all(x_B[counts_B]) for x_B in (feature_BD, logit_B, batch["label"])))
