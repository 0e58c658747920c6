"""ER-ACE: replay in which new rows do not push old classes away."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.labels import REAL
from continual_df.losses.part_mean import part_mean
from continual_df.methods.base import Prediction
from continual_df.methods.replay import Replay
from continual_df.models.class_head import ClassHead, fake_against_real
from continual_df.task import Batch, Role, Task


class ERACE(Replay):
    """Replay with asymmetric cross-entropy: current rows compete among their task's classes, replayed ones among all.

    loss = mean over current rows of CE(softmax over real and the task's methods)
        + replay * mean over replayed rows of CE(softmax over all class ids so far)

    There is one output g_c for each class id, real being one class of all tasks; fake_logit is
    log sum_{c > 0} exp g_c - g_0.

    Caccia et al., 2022, arXiv:2104.05025. Differs from it: real comes in every task, so that it is among the classes of
    each; memory is selected when a task has ended, not per step.

    Args:
        replay: Weight of the replayed rows.
        **kwargs: Those of `Replay`.
    """

    head: ClassHead

    def __init__(self, *, replay: float = 1.0, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        if replay < 0:
            raise ValueError(f"replay must be at least 0, got {replay}")
        self.replay = replay

    def make_head(self) -> ClassHead:
        """Return a head that grows with the tasks."""
        return ClassHead(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Add the outputs of new classes."""
        super().begin_task(task)
        self.head.grow(max(task.class_ids.values()) + 1)

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) logits of P(fake)."""
        return fake_against_real(self.head(feature_BD))

    def forward(self, image: Tensor) -> Prediction:
        """Return what the class outputs say of ``image``."""
        feature_BD = self.detector(image).pooled_BD
        logit_BC = self.head(feature_BD)
        return Prediction(fake_against_real(logit_BC), logit_BC, feature_BD)

    def decision_directions(self) -> Tensor:
        """Return (H, D): for each fake class its weights minus those of real."""
        weight_CD = self.head.weight_CD.detach()
        return weight_CD[1:] - weight_CD[:1]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the current rows and, from the second task on, of the replayed ones."""
        assert self.task is not None
        features = self.detector(batch["image"])
        logit_BC = self.head(features.pooled_BD)
        replayed_B = batch["role"] == Role.REPLAY
        absent_C = torch.ones(logit_BC.shape[1], dtype=torch.bool, device=logit_BC.device)
        absent_C[[REAL, *(self.task.class_ids[method] for method in self.task.methods)]] = False
        competing_BC = logit_BC.masked_fill(absent_C & ~replayed_B[:, None], -torch.inf)
        loss_B = F.cross_entropy(competing_BC, batch["method"], reduction="none")
        terms = {"detection": part_mean(loss_B[~replayed_B], batch["weight"])}
        if self.memory.rows.num:
            terms["replay"] = self.replay * part_mean(loss_B[replayed_B], batch["weight"])
        return {**terms, **self.detector.auxiliary_loss(features, batch)}
