"""A teacher: what a module was, kept as it was."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from continual_df.ledger import phase


class FrozenCopy(nn.Module):
    """A deep copy of a module without gradients that stays in evaluation mode, whatever mode its owner goes to.

    Its calls are charged to the ledger's phase ``teacher``. It is registered, so that it follows its owner to a device and
    into checkpoints.

    Args:
        module: Copied as it is now.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenCopy:
        """Stay in evaluation mode: batch statistics must be neither used nor moved."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401  whatever the module returns
        """Return what the module returned when it was copied."""
        with phase("teacher"):
            return self.module(*inputs, **named)
