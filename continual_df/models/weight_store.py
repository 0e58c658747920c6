"""The weights that a model has ended its tasks with, kept side by side."""

from __future__ import annotations

from torch import Tensor, nn

Weights = dict[str, Tensor]
"""A state dict."""


class WeightStore(nn.Module):
    """State dicts on the CPU, which no device move touches, in the order in which they were kept; all go into checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Weights] = []

    def keep(self, weights: Weights) -> None:
        """Add a copy of ``weights``."""
        self.kept.append({name: value.detach().to("cpu", copy=True) for name, value in weights.items()})

    @property
    def num_bytes(self) -> int:
        """Bytes of everything that is kept."""
        return sum(value.nbytes for weights in self.kept for value in weights.values())

    def get_extra_state(self) -> dict[str, Weights]:
        """Return what is kept, numbered."""
        return {str(number): weights for number, weights in enumerate(self.kept)}

    def set_extra_state(self, state: dict[str, Weights]) -> None:
        """Take over what `get_extra_state` gave."""
        self.kept = [state[str(number)] for number in range(len(state))]
