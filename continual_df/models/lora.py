"""Low-rank adapters of a frozen ViT: one that all tasks share, and one a task."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.errors import ConfigError
from continual_df.models.addressed_linear import addressed_linear
from continual_df.models.detector import Detector, Features
from continual_df.models.frozen_vit import FrozenViT


class LoRALinear(nn.Module):
    """A frozen linear layer and low-rank additions: W x + b + sum over adapters k of B_k A_k x.

    Adapter 0 is shared by all tasks and always learns, adapter t is that of task t and learns in it. A_k (R, I) starts
    as in a linear layer, B_k (O, R) at 0, so that a new adapter changes nothing. Hu et al., 2021, arXiv:2106.09685.

    Args:
        linear: The layer.
        rank: Rank R of an adapter.
        address: Where its adapters are drawn: (seed, place among the adapted layers).
    """

    def __init__(self, linear: nn.Linear, rank: int, address: tuple[int, int]) -> None:
        super().__init__()
        self.linear, self.rank, self.address = linear, rank, address
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        self._add()

    def grow(self) -> None:
        """Freeze the adapters of earlier tasks and add the next one."""
        for parameter in [*self.down[1:], *self.up[1:]]:
            parameter.requires_grad_(False)
        self._add()

    def _add(self) -> None:
        weight_OI = self.linear.weight
        drawn = addressed_linear(weight_OI.shape[1], self.rank, *self.address, len(self.down))
        self.down.append(nn.Parameter(drawn.weight.detach().to(weight_OI)))
        self.up.append(nn.Parameter(weight_OI.new_zeros(weight_OI.shape[0], self.rank)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with all adapters, which cost as much as one of their summed rank."""
        down, up = torch.cat(list(self.down)), torch.cat(list(self.up), dim=1)
        added: Tensor = self.linear(x) + F.linear(F.linear(x, down), up)
        return added


class LoRAViT(FrozenViT):
    """A frozen ViT with adapters in the feed-forward layers (``mlp``) of all its blocks.

    Args:
        detector: The ViT.
        rank: Rank of an adapter.
        method: Name of the method that needs it.

    Raises:
        ConfigError: If the blocks have no such layers.
    """

    def __init__(self, detector: Detector, rank: int, method: str) -> None:
        super().__init__(detector, method)
        blocks = self.vit.backbone.blocks
        found = {name: layer for name, layer in blocks.named_modules() if isinstance(layer, nn.Linear)}
        inside = {name: layer for name, layer in found.items() if "mlp" in name.split(".")}
        if not inside:
            raise ConfigError(
                f"{method} adapts the layers named mlp of a ViT, and the detector's {type(blocks[0]).__name__} has none: "
                "use another backbone, e.g. vit_base_patch16_224."
            )
        for place, (name, layer) in enumerate(inside.items()):
            blocks.set_submodule(name, LoRALinear(layer, rank, (torch.initial_seed(), place)))

    @property
    def layers(self) -> list[LoRALinear]:
        """The adapted layers, in the order of the blocks."""
        return [layer for layer in self.vit.backbone.modules() if isinstance(layer, LoRALinear)]

    def grow(self) -> None:
        """Add the adapter of the next task to each layer."""
        for layer in self.layers:
            layer.grow()

    def directions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield for each layer A of the newest task (R, I) and those of the earlier tasks (tasks x R, I)."""
        for layer in self.layers:
            newest_RI = layer.down[-1]
            yield newest_RI, torch.cat([newest_RI.detach()[:0], *layer.down[1:-1]])

    def forward(self, image: Tensor) -> Features:
        """Return the features of ``image`` with all adapters."""
        features: Features = self.vit(image)
        return features
