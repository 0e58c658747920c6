"""Online EWC: parameters that earlier tasks need are held where those tasks left them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from continual_df.ledger import phase
from continual_df.methods.base import Method
from continual_df.randomness import priority
from continual_df.ranks import from_all
from continual_df.task import Batch, Extract, Rows, Task


class OnlineEWC(Method):
    """Elastic weight consolidation with one running Fisher information: no memory, no teacher.

    loss = CE + strength / 2 * sum_i F_i (theta_i - theta*_i)^2, over all trainable parameters theta of detector and head,

    where theta* is what the last task has left and F = decay * (F of the tasks before) + the task's own diagonal Fisher
    information, the mean over images x of E_y [(d log p(y | x) / d theta)^2]. For one logit z of P(fake) the expectation
    over y under the model is p (1 - p) (dz / d theta)^2: exact, from one gradient an image (not the square of a batch's
    mean gradient, which is far smaller), on images without augmentation, with batch statistics fixed.

    Kirkpatrick et al., 2017, arXiv:1612.00796; Schwarz et al., 2018, arXiv:1805.06370 (online). ``normalise``, as in the
    latter, so that a task that is learnt with little doubt counts as others do: each task's F is divided by its mean.

    Args:
        strength: Weight of the penalty.
        decay: How much of the Fisher information of earlier tasks is kept at each task, in [0, 1].
        normalise: Whether the Fisher information of each task has mean 1 over the parameters.
        fisher_images: Training images of each task from which it is estimated, at most.
        **kwargs: Those of `Method`.
    """

    fisher_P: Tensor
    anchor_P: Tensor

    def __init__(
        self,
        *,
        strength: float = 0.1,
        decay: float = 1.0,
        normalise: bool = True,
        fisher_images: int = 500,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if strength < 0:
            raise ValueError(f"strength must be at least 0, got {strength}")
        if not 0 <= decay <= 1:
            raise ValueError(f"decay must be in [0, 1], got {decay}")
        if fisher_images < 1:
            raise ValueError(f"fisher_images must be at least 1, got {fisher_images}")
        self.strength, self.decay, self.normalise, self.fisher_images = strength, decay, normalise, fisher_images
        num_parameters = len(self._theta_P())
        self.register_buffer("fisher_P", torch.zeros(num_parameters))
        self.register_buffer("anchor_P", torch.zeros(num_parameters))
        self._squares: list[Tensor] | None = None  # sums over images by parameter; a list only while they are gathered

    def _theta_P(self) -> Tensor:
        """Return all trainable parameters in a row."""
        return _in_a_row(parameter for parameter in self.parameters() if parameter.requires_grad)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the detection loss and, from the second task on, the penalty."""
        terms = super().losses(batch)
        if self.task is not None and self.task.index > 0:
            moved_P = self._theta_P() - self.anchor_P
            terms["penalty"] = self.strength / 2 * (self.fisher_P * moved_P**2).sum()
        return terms

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Predict; while a task ends, add up the squared gradients of each image."""
        if self._squares is None:
            return super().predict_step(batch, batch_idx)
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        logits = []
        # a prediction is in inference mode, whose tensors know no gradient: a copy made outside of it does
        with phase("fisher"), torch.inference_mode(mode=False):
            if not self._squares:
                self._squares = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
            for image, weight in zip(batch["image"].clone(), batch["weight"].tolist(), strict=True):
                logit = self(image[None]).fake_logit[0]
                gradients = torch.autograd.grad(logit, parameters)
                logits.append(logit.detach().float())
                if weight > 0:
                    variance = float(logits[-1].sigmoid() * (-logits[-1]).sigmoid())
                    for square, gradient in zip(self._squares, gradients, strict=True):
                        square.addcmul_(gradient, gradient, value=variance)
        return {"sample": batch["sample"].cpu(), "fake_logit": torch.stack(logits).cpu()}

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Estimate the Fisher information of the task, and hold the parameters here."""
        first = np.argsort(priority(0, rows.sample.numpy()), kind="stable")[: self.fisher_images]
        rows = rows.pick(torch.from_numpy(first))
        self._squares = []
        extract(rows, ("fake_logit",))
        fisher_P = torch.stack(from_all(_in_a_row(self._squares).cpu())).sum(dim=0) / rows.num
        self._squares = None
        if self.normalise:
            fisher_P /= fisher_P.mean().clamp(min=torch.finfo(fisher_P.dtype).tiny)
        self.fisher_P.mul_(self.decay).add_(fisher_P.to(self.fisher_P.device))
        self.anchor_P.copy_(self._theta_P().detach())


def _in_a_row(tensors: Iterable[Tensor]) -> Tensor:
    """Return all values as one vector; torch's parameters_to_vector refuses those of a channels-last detector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
