"""Mixed prototypes, like DMP's: several prototypes a class, rows replayed around them, and their view of a row kept."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.logit_distillation import logit_distillation
from continual_df.losses.part_mean import part_mean
from continual_df.losses.prototypes import assignment_loss, similarity_logits
from continual_df.memory.k_means import k_means
from continual_df.methods.replay import Replay
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.task import Batch, Extract, Role, Rows, Task


class MixedPrototypes(Replay):
    """Replay held by prototypes: each task adds ``num_prototypes`` of its reals and of its fakes, the centroids of k-means.

    With ``s_p = cos(feature, prototype_p) / temperature`` over the prototypes of all old tasks and ``q = softmax(s)``:
    ``loss = detection CE + distillation KL(q of the teacher || q) + assignment -log sum of q_p over the row's class``, the last a
    mean over remembered rows, the others over all. The first task has no prototypes.

    Like DMP (Dynamic Mixed-Prototype, 2024, ACM Multimedia), which has several prototypes of real and fake that grow with the
    forgeries, replay guided by them, and a distillation of what a sample is to them. Its losses, its number of prototypes and its
    memory are not published and there is no code: the formulas and numbers here are ours, and its published results are no measure
    for them.

    Args:
        num_prototypes: Prototypes of the reals and of the fakes of a task, at least 1; of fewer rows, as many as rows.
        detection: Weight of the cross-entropy; 0 switches a term off, here and below.
        distillation: Weight of the distillation of the shares.
        assignment: Weight of the share in the own class.
        temperature: Of the similarities, positive.
        **kwargs: Those of `Replay`; the rule of the memory should be `PrototypeGuided`, with as many prototypes.
    """

    teacher: FrozenCopy | None
    prototype_TLKD: Tensor
    size_TLK: Tensor

    def __init__(
        self,
        *,
        num_prototypes: int = 4,
        detection: float = 1.0,
        distillation: float = 1.0,
        assignment: float = 0.1,
        temperature: float = 0.1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if num_prototypes < 1:
            raise ValueError(f"num_prototypes must be at least 1, got {num_prototypes}")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.num_prototypes, self.temperature = num_prototypes, temperature
        self.detection, self.distillation, self.assignment = detection, distillation, assignment
        self.teacher = None
        self.register_buffer("prototype_TLKD", torch.zeros(0, 2, num_prototypes, self.detector.num_features))
        self.register_buffer("size_TLK", torch.zeros(0, 2, num_prototypes, dtype=torch.long))

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher, and make room for the prototypes of the task."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher = FrozenCopy(self.detector)
        self.prototype_TLKD = F.pad(self.prototype_TLKD, (0, 0, 0, 0, 0, 0, 0, 1))
        self.size_TLK = F.pad(self.size_TLK, (0, 0, 0, 0, 0, 1))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on."""
        features = self.detector(batch["image"])
        terms = {}
        if self.detection:
            logit_B = self.fake_logit(features.pooled_BD)
            detection = F.binary_cross_entropy_with_logits(logit_B, batch["label"].to(logit_B.dtype))
            terms["detection"] = self.detection * detection
        if self.teacher is not None and self.size_TLK.any():
            place_P = (self.size_TLK > 0).nonzero(as_tuple=True)
            prototype_PD, label_P = self.prototype_TLKD[place_P], place_P[1]
            similarity_BP = similarity_logits(features.pooled_BD, prototype_PD, self.temperature)
            if self.distillation:
                was_BP = similarity_logits(self.teacher(batch["image"]).pooled_BD, prototype_PD, self.temperature)
                kl = logit_distillation(similarity_BP, was_BP, temperature=1.0).mean()
                terms["distillation"] = self.distillation * kl
            if self.assignment:
                loss_B = assignment_loss(similarity_BP, label_P == batch["label"][:, None])
                terms["assignment"] = self.assignment * part_mean(loss_B[batch["role"] == Role.REPLAY], batch["weight"])
        return {**terms, **self.detector.auxiliary_loss(features, batch)}

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Let the memory choose, and make the prototypes of the task."""
        known = self.memory.update(rows, extract)
        own_N = known.rows.task == task.index
        if known.feature_ND is not None and own_N.any():
            rows, feature_ND = known.rows.pick(own_N), known.feature_ND[own_N]
        else:
            feature_ND = extract(rows, ("features",))["features"]
        for label in (0, 1):
            of_label_ND = feature_ND[rows.label == label]
            if len(of_label_ND):
                centroid_KD, cluster_N = k_means(of_label_ND, self.num_prototypes, self.memory.seed)
                size_K = cluster_N.bincount(minlength=len(centroid_KD))
                self.prototype_TLKD[task.index, label, : len(size_K)] = centroid_KD.to(self.prototype_TLKD)
                self.size_TLK[task.index, label, : len(size_K)] = size_K.to(self.size_TLK.device)
