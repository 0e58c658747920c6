"""From a draw to a batch item: decode, resize, augment with addressed randomness, scale to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from continual_df.data.images import ImageSource
from continual_df.data.sampler import Draw
from continual_df.randomness import seed_at
from continual_df.task import Rows


class DrawDataset(Dataset[dict[str, Any]]):
    """Images by `Draw`; augmentation depends on (seed, task, pass, row) alone.

    Args:
        images: Where the pixels come from.
        image_size: Side of the square that images are resized to; None keeps their size.
        augment: Transforms of torchvision v2 on uint8 (C, H, W), applied after resizing.
        seed: Seed of the run.
        task: Index of the task that is being trained.
        second: Transforms of a second view of the same image, the item's ``second``; None: one view.
        group_N: Number of the group of each row of the frame table, the item's ``group``; None: items have none.
    """

    def __init__(
        self,
        images: ImageSource,
        image_size: int | None,
        augment: Sequence[nn.Module] = (),
        seed: int = 0,
        task: int = 0,
        second: Sequence[nn.Module] | None = None,
        group_N: Tensor | None = None,
    ) -> None:
        self.images, self.augment, self.seed, self.task, self.second = images, augment, seed, task, second
        self.group_N = group_N
        self.resize = v2.Resize((image_size, image_size), antialias=True) if image_size else None

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        with torch.random.fork_rng(devices=[]):  # torchvision v2 draws from the global generator
            # torch.manual_seed would seed the generators of CUDA devices too, and only without workers
            torch.default_generator.manual_seed(seed_at(self.seed, self.task, draw.epoch, draw.sample))
            image = self.images(draw.sample)
            if self.resize is not None and tuple(image.shape[1:]) != tuple(self.resize.size):
                image = self.resize(image)
            views = {"image": _apply(self.augment, image)}
            if self.second is not None:
                views["second"] = _apply(self.second, image)
        fields = {name: getattr(draw, name) for name in ("label", "method", "task", "role", "sample")}
        if self.group_N is not None:
            fields["group"] = self.group_N[draw.sample]
        return {**{name: to_unit(view) for name, view in views.items()}, **fields, "weight": torch.tensor(draw.weight)}


class RowDataset(Dataset[dict[str, Any]]):
    """The images of ``rows`` in order, without augmentation.

    Args:
        dataset: Dataset that resolves the draws.
        rows: Rows to yield.
        num_own: How many of them count; those after are of weight 0, another process has them too. None: all.
    """

    def __init__(self, dataset: DrawDataset, rows: Rows, num_own: int | None = None) -> None:
        self.dataset, self.rows, self.num_own = dataset, rows, rows.num if num_own is None else num_own

    def __len__(self) -> int:
        return self.rows.num

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[Draw(*self.rows.at(index), role=0, epoch=0, weight=float(index < self.num_own))]


def _apply(transforms: Sequence[nn.Module], image: Tensor) -> Tensor:
    """Return ``image`` after all ``transforms``."""
    for transform in transforms:
        image = transform(image)
    return image


def to_unit(image: Tensor) -> Tensor:
    """Return uint8 pixels as float32 in [0, 1]; floats pass unchanged."""
    return image.float() / 255 if image.dtype == torch.uint8 else image.float()
