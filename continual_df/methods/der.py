"""DER++: replay what the model said of an image when it was remembered, and its label."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from continual_df.data.sampler import Source
from continual_df.losses.part_mean import part_mean
from continual_df.methods.replay import Replay
from continual_df.task import Batch, Role, Rows, Task


class DERpp(Replay):
    """Dark experience replay with labels (DER++): two draws from the memory, one for logits and one for labels.

    loss = mean over current rows of CE + alpha * mean over the first draw of (z - z')^2 / 4
        + beta * mean over the second draw of CE

    with z the logit of P(fake) and z' what it was when the row was remembered. Of real and fake, the logits are -z / 2 and
    z / 2: (z - z')^2 / 4 is the mean squared error of the two, on which the published values of alpha stand.

    Buzzega et al., 2020, arXiv:2004.07211. Differs from it: rows and their logits are remembered when a task has ended, of
    the image without augmentation, and not in each step; current and replayed rows go through the detector together, so
    that its batch statistics are those of both.

    Args:
        alpha: Weight of the logits.
        beta: Weight of the labels of replayed rows.
        **kwargs: Those of `Replay`; ``replay_per_batch``, at least 2, counts both draws.
    """

    def __init__(self, *, alpha: float = 0.2, beta: float = 0.5, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if self.replay_per_batch < 2:
            raise ValueError(f"replay_per_batch counts two draws: it must be at least 2, got {self.replay_per_batch}")
        self.alpha, self.beta = alpha, beta
        self.memory.stored = ("fake_logit",)

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return the current rows and two draws of the remembered ones, the first of which is never the smaller one."""
        plan = []
        for source in super().batch_plan(task, seen):
            half = source.per_batch // 2
            sizes = [source.per_batch - half, half] if source.role == Role.REPLAY else [source.per_batch]
            plan += [replace(source, per_batch=size) for size in sizes]
        return plan

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of the current rows and, from the second task on, of the two draws."""
        features = self.detector(batch["image"])
        logit = self.fake_logit(features.pooled_BD)
        loss_B = F.binary_cross_entropy_with_logits(logit, batch["label"].to(logit.dtype), reduction="none")
        replayed_B = batch["role"] == Role.REPLAY
        terms = {"detection": part_mean(loss_B[~replayed_B], batch["weight"])}
        if self.memory.rows.num:
            # of several processes, each has its part of both draws, in this order
            first, second = replayed_B.nonzero().squeeze(1).tensor_split(2)
            was = self.memory.lookup("fake_logit", batch["sample"][first])
            terms["logits"] = self.alpha / 4 * part_mean((logit[first] - was).square(), batch["weight"])
            terms["replay"] = self.beta * part_mean(loss_B[second], batch["weight"])
        return {**terms, **self.detector.auxiliary_loss(features, batch)}
