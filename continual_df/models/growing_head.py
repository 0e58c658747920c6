"""A classifier without bias whose heads are known classes, and after them free clusters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.randomness import seed_at


class GrowingHead(nn.Module):
    """``logit_k = w_k . f``; heads can be added, and a checkpoint of any number of them loads.

    Its initial weights are normally distributed and drawn by place, so that they do not depend on the number of processes.

    Args:
        num_features: Length D of the features.
        num_heads: Number K of heads to begin with.
        std: Standard deviation of an initial weight, positive; 0.001 in CPL.
    """

    def __init__(self, num_features: int, num_heads: int, std: float = 0.001) -> None:
        super().__init__()
        self.std, self.seed = std, torch.initial_seed()
        self.weight_KD = nn.Parameter(torch.empty(0, num_features))
        self.grow(num_heads)

    @property
    def num_heads(self) -> int:
        """Number K of heads."""
        return len(self.weight_KD)

    @torch.no_grad()
    def grow(self, num: int) -> None:
        """Add ``num`` heads after the others, which stay as they are."""
        draw = torch.Generator().manual_seed(seed_at(self.seed, self.num_heads))
        new_KD = torch.empty(num, self.weight_KD.shape[1]).normal_(std=self.std, generator=draw)
        self.set_weights(torch.cat([self.weight_KD, new_KD.to(self.weight_KD)]))

    @torch.no_grad()
    def set_weights(self, weight_KD: Tensor) -> None:
        """Put ``weight_KD``, of any number of heads, in place of the weights.

        The parameter stays the same where the number does; otherwise, it is a new one, which an optimizer must be told of.
        """
        if weight_KD.shape == self.weight_KD.shape:
            self.weight_KD.copy_(weight_KD)
        else:
            self.weight_KD = nn.Parameter(weight_KD.detach().clone().to(self.weight_KD))

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return logit_BK."""
        return F.linear(feature_BD, self.weight_KD)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:  # noqa: ANN401
        """Have as many heads as were saved."""
        saved = state_dict.get(f"{prefix}weight_KD")
        if saved is not None and saved.shape[1:] == self.weight_KD.shape[1:] and len(saved) != self.num_heads:
            self.set_weights(saved)
        super()._load_from_state_dict(state_dict, prefix, *args)
