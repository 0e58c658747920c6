"""Confidence-based soft pseudo-labels (CPL): drawn, not taken from the top, and weighed by what is thought of the draw."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.pseudo_label import PseudoLabeller, PseudoLabels


class SoftPseudoLabeller(PseudoLabeller):
    """Targets are a draw of Gumbel-softmax; a row counts as much as its probability of the head that was drawn.

    ``q = softmax((logit + g) / t)`` with g of the standard Gumbel distribution, ``c = argmax q``, weight ``p_c`` with
    ``p = softmax(logit)``. So c is a sample of p, which now and then is another head than the top one.

    Sun et al., 2023, arXiv:2309.11132.

    Args:
        temperature: The t of the formula, positive.
        detach_weight: Let no gradient through the weight; in the released code it has one.
    """

    def __init__(self, temperature: float = 1.0, detach_weight: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature, self.detach_weight = temperature, detach_weight

    def forward(self, logit_UK: Tensor, generator: torch.Generator | None = None) -> PseudoLabels:
        """Return the labels of rows by their logits."""
        logit_UK = logit_UK.float()
        device = logit_UK.device if generator is None else generator.device
        draw_UK = torch.empty(logit_UK.shape, device=device).exponential_(generator=generator)
        gumbel_UK = -draw_UK.clamp(min=torch.finfo(draw_UK.dtype).tiny).log().to(logit_UK.device)  # a draw can be 0
        target_UK = ((logit_UK.detach() + gumbel_UK) / self.temperature).softmax(dim=1)
        drawn_U1 = target_UK.argmax(dim=1, keepdim=True)
        weight_U = logit_UK.softmax(dim=1).gather(1, drawn_U1).squeeze(1)
        return PseudoLabels(target_UK, weight_U.detach() if self.detach_weight else weight_U)
