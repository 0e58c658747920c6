"""Universal perturbations: one change of the pixels that makes a detector call any real image fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.ranks import rows_of_all


class Perturbations(nn.Module):
    """Perturbations that have been made, and one that is being made.

    Args:
        step: Change of a pixel in a step.
        bound: Largest change of a pixel.
    """

    kept_KCHW: Tensor

    def __init__(self, step: float, bound: float) -> None:
        super().__init__()
        for name, value in {"step": step, "bound": bound}.items():
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")
        self.step, self.bound = step, bound
        self.making_CHW: Tensor | None = None
        self.register_buffer("kept_KCHW", torch.empty(0, 0, 0, 0))

    def __len__(self) -> int:
        return len(self.kept_KCHW)

    def put_one_on(self, image_RCHW: Tensor) -> Tensor:
        """Return the images, pixels in [0, 1], under one of the kept perturbations, drawn from torch's global generator."""
        return (image_RCHW + self.kept_KCHW[int(torch.randint(len(self), ()))]).clamp(0, 1)

    def push(self, image_BCHW: Tensor, counts_B: Tensor, fake_logit: Callable[[Tensor], Tensor]) -> Tensor:
        """Take one step: ``d <- clip(d - step sign(gradient of the sum of BCE(fake_logit(clip(x + d)), fake)), -bound, bound)``.

        Args:
            image_BCHW: Images x of all processes' batch that this one has; pixels in [0, 1].
            counts_B: Which of them count.
            fake_logit: ``image -> (B,)`` logits of P(fake).

        Returns:
            What the images with d were called before the step, (B,).
        """
        with torch.inference_mode(False), torch.enable_grad():
            image_BCHW, counts_B = image_BCHW.clone(), counts_B.clone()  # those of inference mode can have no gradient
            made_CHW = torch.zeros_like(image_BCHW[0]) if self.making_CHW is None else self.making_CHW
            made_CHW.requires_grad_()
            logit_B = fake_logit((image_BCHW + made_CHW).clamp(0, 1))
            loss_B = F.binary_cross_entropy_with_logits(logit_B, torch.ones_like(logit_B), reduction="none")
            (gradient_CHW,) = torch.autograd.grad((loss_B * counts_B).sum(), made_CHW)
            gradient_CHW = rows_of_all(gradient_CHW[None]).sum(dim=0)
            self.making_CHW = (made_CHW.detach() - self.step * gradient_CHW.sign()).clamp(-self.bound, self.bound)
        return logit_B.detach()

    def keep(self) -> None:
        """Keep the perturbation that was being made; the next begins at 0."""
        assert self.making_CHW is not None
        made_1CHW = self.making_CHW[None].to(self.kept_KCHW.device)
        self.kept_KCHW = torch.cat([self.kept_KCHW, made_1CHW]) if len(self) else made_1CHW
        self.making_CHW = None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:  # noqa: ANN401
        """Take as many as were saved, and as large: the tasks do not say either."""
        saved = state_dict.get(f"{prefix}kept_KCHW")
        if saved is not None:
            self.kept_KCHW = torch.empty_like(saved, device=self.kept_KCHW.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
