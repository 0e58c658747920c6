"""HDP: universal perturbations that made the old detector call real images fake stand in for the old forgeries."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.ledger import phase
from continual_df.losses.logit_distillation import binary_logit_distillation
from continual_df.losses.part_mean import part_mean
from continual_df.methods.base import Method
from continual_df.models.detector import Features
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.perturbations import Perturbations
from continual_df.ranks import rank_and_size
from continual_df.task import Batch, Extract, Rows, Task


class HDP(Method):
    """Historical distribution preserving: one perturbation a task is kept, and no image.

    When a task ends, one perturbation d of its reals is made against the detector: for each batch x of them,
    ``d <- clip(d - step sign(gradient of BCE(f(clip(x + d)), fake)), -bound, bound)``. Later, every batch is joined by reals of its
    own with one old d, drawn at random, labelled fake; and ``preserve MSE(features, teacher's) + logit KL(teacher || student)`` hold
    those reals with and without d to what the last detector says of them.

    Sun et al., 2024, arXiv:2308.06217. Pixels are in [0, 1] here, so that steps and bounds are half of those of the released code
    (skJack/HDP). Differs from the code: a batch gets one step a pass (there as many as make ``share`` of it fake, without end), and
    passes end early where ``share`` of all reals are called fake; d starts at 0; KL is that of each row's P(fake); the features
    are the pooled ones; the teacher keeps its batch statistics; d is part of the checkpoint.

    Args:
        replay_per_batch: Reals of each batch that get a perturbation, the same ones again where there are fewer; of several
            processes, each takes its share of them from its own rows.
        passes: Passes over the task's reals, at most.
        share: Share of them that is called fake at which the passes end, in (0, 1].
        step: Change of a pixel in a step.
        bound: Largest change of a pixel.
        detection: Weight of the cross-entropy of current and perturbed rows; 0 switches a term off, here and below.
        preserve: Weight of the distillation of features.
        logit: Weight of the distillation of P(fake).
        **kwargs: Those of `Method`.
    """

    teacher: FrozenCopy | None
    teacher_head: FrozenCopy | None

    def __init__(
        self,
        *,
        replay_per_batch: int = 16,
        passes: int = 5,
        share: float = 0.8,
        step: float = 5e-5,
        bound: float = 0.075,
        detection: float = 1.0,
        preserve: float = 1.0,
        logit: float = 1.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        for name, value in {"replay_per_batch": replay_per_batch, "passes": passes}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.replay_per_batch, self.passes, self.share = replay_per_batch, passes, share
        self.detection, self.preserve, self.logit = detection, preserve, logit
        self.teacher = self.teacher_head = None
        self.perturbations, self.reserving = Perturbations(step, bound), False

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher."""
        super().begin_task(task)
        if task.index > 0:
            self.teacher, self.teacher_head = FrozenCopy(self.detector), FrozenCopy(self.head)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms that are switched on."""
        image, label_B, num = batch["image"], batch["label"], len(batch["label"])
        counts_N = torch.ones_like(label_B, dtype=torch.bool)
        if len(self.perturbations):
            real_R, counts_R = self._reals(label_B)
            image = torch.cat([image, self.perturbations.put_one_on(image[real_R])])
            label_B, counts_N = torch.cat([label_B, torch.ones_like(real_R)]), torch.cat([counts_N, counts_R])
        features = self.detector(image)
        logit_N = self.fake_logit(features.pooled_BD)
        terms = {}
        if self.detection:
            loss_N = F.binary_cross_entropy_with_logits(logit_N, label_B.to(logit_N.dtype), reduction="none")
            terms["detection"] = self.detection * part_mean(loss_N[counts_N], batch["weight"])
        if (
            len(image) > num
            and self.teacher is not None
            and self.teacher_head is not None
            and (self.preserve or self.logit)
        ):
            held = torch.cat([real_R, torch.arange(num, len(image), device=real_R.device)])
            counts = torch.cat([counts_R, counts_R])
            teacher_BD = self.teacher(image[held]).pooled_BD
            if self.preserve:  # both means are over as many rows: their sum is twice that of all
                distance = (features.pooled_BD[held] - teacher_BD).square().mean(dim=1)
                terms["preserve"] = 2 * self.preserve * part_mean(distance[counts], batch["weight"])
            if self.logit:
                teacher_B = self.teacher_head(teacher_BD).squeeze(1)
                kl = binary_logit_distillation(logit_N[held], teacher_B, temperature=1.0)
                terms["logit"] = 2 * self.logit * part_mean(kl[counts], batch["weight"])
        own = Features(features.map_BDHW[:num], features.pooled_BD[:num])
        return {**terms, **self.detector.auxiliary_loss(own, batch)}

    def _reals(self, label_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return real_R, places of the reals to replay, and whether each counts: any rows that do not where no real is."""
        place_R = torch.arange(-(-self.replay_per_batch // rank_and_size()[1]), device=label_B.device)
        real = (label_B == 0).nonzero().squeeze(1)
        if len(real):
            return real[place_R % len(real)], torch.ones_like(place_R, dtype=torch.bool)
        return place_R % len(label_B), torch.zeros_like(place_R, dtype=torch.bool)

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Make the perturbation of the task, in passes over its reals."""
        real = rows.pick(rows.label == 0)
        if not real.num:
            return
        self.reserving = True
        for _ in range(self.passes):
            logit_N = extract(real, ("fake_logit",))["fake_logit"]
            if (logit_N > 0).float().mean() >= self.share:
                break
        self.reserving = False
        self.perturbations.keep()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Predict; while a perturbation is made, take a step of it, and return what the rows with it were called before."""
        if not self.reserving:
            return super().predict_step(batch, batch_idx)
        with phase("reserve"):
            logit_B = self.perturbations.push(
                batch["image"], batch["weight"] > 0, lambda image: self.fake_logit(self.detector(image).pooled_BD)
            )
        return {"sample": batch["sample"].cpu(), "fake_logit": logit_B.float().cpu()}
