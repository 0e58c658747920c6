"""Slow weights: a moving average of a module that is trained."""

from __future__ import annotations

import torch
from torch import nn

from continual_df.models.frozen_copy import FrozenCopy


class WeightAverage(FrozenCopy):
    """A copy of a module that follows it in small steps, its batch statistics too.

    ``module`` holds it; what counts in it (integer buffers) is taken as it is.
    """

    @torch.no_grad()
    def follow(self, fast: nn.Module, decay: float) -> None:
        """Become ``decay`` times itself plus ``1 - decay`` times ``fast``, which has the same parameters and buffers."""
        new = fast.state_dict()
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                value.lerp_(new[name], 1 - decay)
            else:
                value.copy_(new[name])
