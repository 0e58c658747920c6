"""LwF: learning without forgetting, by what the last model says of the images of the new task."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from continual_df.methods.base import Method
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.heads import TaskHeads, fake_margin
from continual_df.task import Batch, Task


class LwF(Method):
    """Learning without forgetting: no memory; the last model's answers to the current images are kept.

    loss = CE(z_new, y) + distillation * mean over old heads of CE(sigmoid(z_old / T), sigmoid(z'_old / T))

    with z the logit of P(fake) of a head, z' the teacher's, and T the temperature: sigmoid(z / T) is what raising both
    probabilities to the power 1 / T and normalising gives.

    Li and Hoiem, 2016, arXiv:1606.09282, adapted to one binary question that all tasks share: ``heads: shared`` has one
    head, which learns the labels and keeps to the teacher at once. ``heads: task`` has, as the paper, a head a task, of
    which the newest learns the labels and the others keep to the teacher; without a task id, P(fake) is that of their
    mean logit. Differs from the paper: the new head does not learn alone first.

    Args:
        distillation: Weight of the distillation.
        temperature: T, positive.
        heads: One head for all tasks, or one a task.
        **kwargs: Those of `Method`.
    """

    head: TaskHeads
    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None

    def __init__(
        self,
        *,
        distillation: float = 1.0,
        temperature: float = 2.0,
        heads: Literal["shared", "task"] = "shared",
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if distillation < 0:
            raise ValueError(f"distillation must be at least 0, got {distillation}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.distillation, self.temperature, self.heads = distillation, temperature, heads
        self.teacher = self.teacher_head = None

    def make_head(self) -> TaskHeads:
        """Return heads of one logit."""
        return TaskHeads(self.detector.num_features, num_classes=1)

    def begin_task(self, task: Task) -> None:
        """Freeze the teacher, and add a head where each task has its own."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)
        if task.index == 0 or self.heads == "task":
            self.head.grow()

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) mean logits of P(fake) over the heads."""
        return fake_margin(self.head(feature_BD)).mean(dim=1)

    def decision_directions(self) -> Tensor:
        """Return (T, D): the weights of each head."""
        return self.head.weight_TCD.detach()[:, 0]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the newest head and, from the second task on, the distillation of the old ones."""
        features = self.detector(batch["image"])
        logit_BT = fake_margin(self.head(features.pooled_BD))
        label = batch["label"].to(logit_BT.dtype)
        terms = {"detection": F.binary_cross_entropy_with_logits(logit_BT[:, -1], label)}
        if self.teacher is not None and self.teacher_head is not None:
            was_BT = fake_margin(self.teacher_head(self.teacher(batch["image"]).pooled_BD))
            now_BT = logit_BT[:, : was_BT.shape[1]]
            kept = F.binary_cross_entropy_with_logits(now_BT / self.temperature, (was_BT / self.temperature).sigmoid())
            terms["distillation"] = self.distillation * kept
        return {**terms, **self.detector.auxiliary_loss(features, batch)}
