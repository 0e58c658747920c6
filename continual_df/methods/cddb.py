"""CDDB's ways to ask real or fake of a class-incremental learner, over plain replay."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.binary_of_tasks import BinaryLoss, binary_of_tasks
from continual_df.methods.replay import Replay
from continual_df.models.heads import TaskHeads
from continual_df.task import Batch, Task


class CDDBReplay(Replay):
    """Replay with one of CDDB's heads, all trained on current and remembered rows alike.

    - ``head: binary``: one head of two classes and its cross-entropy (BC).
    - ``head: multi_class``: two classes a task, 2 task + {0 real, 1 fake}, and the cross-entropy over all of them (MC).
    - ``head: multi_task``: ``(1 - l) CE + l binary`` with that cross-entropy and `binary_of_tasks` (MT).

    P(fake) is ``max_fake / (max_real + max_fake)`` over the softmax of all classes, as in the paper's mAP: its logit is the largest
    logit of a fake class minus the largest of a real one. No task is asked for.

    Li et al., 2023, arXiv:2205.05467. Differs from the released code (Coral79/CDDB): plain replay instead of LRCIL, iCaRL, LUCIR
    or DyTox; the binary loss counts from the first task on.

    Args:
        head: Which head.
        binary_loss: Which binary loss ``multi_task`` adds.
        binary_weight: Its share l, in [0, 1]; .1 to .3 in the paper, 0 switches it off.
        **kwargs: Those of `Replay`.
    """

    head: TaskHeads

    def __init__(
        self,
        *,
        head: Literal["binary", "multi_class", "multi_task"] = "multi_task",
        binary_loss: BinaryLoss = "sum_logit",
        binary_weight: float = 0.3,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= binary_weight <= 1:
            raise ValueError(f"binary_weight must be in [0, 1], got {binary_weight}")
        self.binary, self.binary_loss = head == "binary", binary_loss
        self.binary_weight = binary_weight if head == "multi_task" else 0.0

    def make_head(self) -> TaskHeads:
        """Return heads of two classes: one for each task, or the first for all."""
        return TaskHeads(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Add the classes of the task."""
        super().begin_task(task)
        if task.index == 0 or not self.binary:
            self.head.grow()

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) the largest fake logit minus the largest real one."""
        largest_BC: Tensor = self.head(feature_BD).amax(dim=1)
        return largest_BC[:, 1] - largest_BC[:, 0]

    def decision_directions(self) -> Tensor:
        """Return (T, D): fake minus real weights of each head."""
        weight_TCD = self.head.weight_TCD.detach()
        return weight_TCD[:, 1] - weight_TCD[:, 0]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the classes and the binary loss, the latter where it has a share."""
        features = self.detector(batch["image"])
        logit_BTC = self.head(features.pooled_BD)
        task_B = torch.zeros_like(batch["task"]) if self.binary else batch["task"]
        terms = {"detection": F.cross_entropy(logit_BTC.flatten(start_dim=1), 2 * task_B + batch["label"])}
        if self.binary_weight:
            binary = binary_of_tasks(logit_BTC, batch["label"], self.binary_loss).mean()
            terms["detection"] = (1 - self.binary_weight) * terms["detection"]
            terms["binary"] = self.binary_weight * binary
        return {**terms, **self.detector.auxiliary_loss(features, batch)}
