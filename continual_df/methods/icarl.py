"""iCaRL: a teacher's answers for old classes, labels for new ones, on a herded memory."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.labels import REAL
from continual_df.methods.base import Prediction
from continual_df.methods.replay import Replay
from continual_df.models.class_head import ClassHead, fake_against_real
from continual_df.models.class_means import ClassMeans, nearest_fake_against_real
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.task import Batch, Extract, Role, Rows, Task


class ICaRL(Replay):
    """iCaRL: binary cross-entropy of one sigmoid a class; the targets of old classes are what the last model said.

    The loss of a row x is the sum over the outputs g_c of BCE(g_c(x), y_c), the mean is over current and replayed rows.

    - ``targets: method``: one output for each class id; real is one class of all tasks. For the classes of the current
      task y_c is 1 for the row's own class and 0 for others; for older methods it is the teacher's sigmoid output.
    - ``targets: binary``, as comparisons of face-forgery detectors run it: one output; y is the label of a current row, and
      the teacher's sigmoid output on a replayed one.
    - ``classifier: linear`` (iCaRL-FC): fake_logit is log sum_{c > 0} exp g_c - g_0, or the one output.
    - ``classifier: nearest_mean``: with features z and the means mu_tc of class c in task t, all of unit length,
      fake_logit = min_t |z - mu_t0|^2 - min_{t, c > 0} |z - mu_tc|^2, in [-4, 4]. The means are those of the remembered
      rows under the new weights, made when a task ends; before (validation, row 0) the linear head predicts.

    Rebuffi et al., 2017, arXiv:1611.07725; the memory's rule there is `select_herding`. Differs from it: real comes in
    every task, so that its output learns from labels in each, and has a mean for each.

    Args:
        classifier: What predicts.
        targets: Which outputs there are.
        distillation: Share of the teacher in the targets that it gives, in [0, 1]; the rest is that of the labels.
        **kwargs: Those of `Replay`.
    """

    head: ClassHead
    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None

    def __init__(
        self,
        *,
        classifier: Literal["linear", "nearest_mean"] = "linear",
        targets: Literal["method", "binary"] = "method",
        distillation: float = 1.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= distillation <= 1:
            raise ValueError(f"distillation must be in [0, 1], got {distillation}")
        self.targets, self.distillation = targets, distillation
        self.teacher = self.teacher_head = None
        self.means = ClassMeans(self.detector.num_features) if classifier == "nearest_mean" else None

    def make_head(self) -> ClassHead:
        """Return a head that grows with the tasks."""
        return ClassHead(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Freeze the teacher, and add the outputs and the means of new classes."""
        super().begin_task(task)
        if task.index > 0 and self.distillation:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)
        num_classes = max(task.class_ids.values()) + 1
        self.head.grow(num_classes if self.targets == "method" else 1)
        if self.means is not None:
            self.means.grow(num_classes)

    def _predict(self, feature_BD: Tensor) -> Prediction:
        if self.means is not None and self.means.ready:
            logit_BC = self.means(feature_BD)
            return Prediction(nearest_fake_against_real(logit_BC), logit_BC, feature_BD)
        logit_BC = self.head(feature_BD)
        if self.targets == "binary":
            return Prediction(logit_BC[:, 0], None, feature_BD)
        return Prediction(fake_against_real(logit_BC), logit_BC, feature_BD)

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return (B,) logits of P(fake), of the classifier that predicts now."""
        return self._predict(feature_BD).fake_logit

    def forward(self, image: Tensor) -> Prediction:
        """Return what the classifier says of ``image``."""
        return self._predict(self.detector(image).pooled_BD)

    def decision_directions(self) -> Tensor:
        """Return (H, D): for each fake class its weights minus those of real, or of their means; or the one output's."""
        if self.means is not None and self.means.ready:
            return self.means.directions()
        weight_CD = self.head.weight_CD.detach()
        return weight_CD if self.targets == "binary" else weight_CD[1:] - weight_CD[:1]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss whose targets are labels and, from the second task on, teacher's outputs."""
        features = self.detector(batch["image"])
        logit_BC = self.head(features.pooled_BD)
        if self.targets == "binary":
            label_BC = batch["label"][:, None].to(logit_BC.dtype)
        else:
            label_BC = F.one_hot(batch["method"], logit_BC.shape[1]).to(logit_BC.dtype)
        terms = {}
        by_label_BC = F.binary_cross_entropy_with_logits(logit_BC, label_BC, reduction="none")
        if self.teacher is not None:
            target_BC, share_BC = self._teach(batch, logit_BC)
            by_teacher_BC = F.binary_cross_entropy_with_logits(logit_BC, target_BC, reduction="none")
            by_label_BC = (1 - share_BC) * by_label_BC
            terms["distillation"] = (share_BC * by_teacher_BC).sum(dim=1).mean()
        terms["detection"] = by_label_BC.sum(dim=1).mean()
        return {**terms, **self.detector.auxiliary_loss(features, batch)}

    def _teach(self, batch: Batch, logit_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return target_BC of the teacher, and share_BC, its share in the targets: 0 where it gives none."""
        assert self.teacher is not None
        assert self.teacher_head is not None
        assert self.task is not None
        replayed_B = batch["role"] == Role.REPLAY
        taught_B = replayed_B if self.targets == "binary" else torch.ones_like(replayed_B)
        output_RC = self.teacher_head(self.teacher(batch["image"][taught_B]).pooled_BD).sigmoid()
        target_BC = torch.zeros_like(logit_BC)
        target_BC[taught_B, : output_RC.shape[1]] = output_RC.to(target_BC.dtype)
        share_BC = torch.zeros_like(logit_BC)
        share_BC[taught_B, : output_RC.shape[1]] = self.distillation
        if self.targets == "method":
            share_BC[:, [REAL, *(self.task.class_ids[method] for method in self.task.methods)]] = 0
        return target_BC, share_BC

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Let the memory choose, and make the means of what it holds."""
        super().end_task(task, rows, extract)
        if self.means is not None:
            self.means.fit(extract(self.memory.rows, ("features",))["features"], self.memory.rows)
