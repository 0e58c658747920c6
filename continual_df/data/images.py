"""From an image file to a uint8 tensor, and the check that every file can be read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from continual_df.data.frame_table import FrameTable, Skipped
from continual_df.data.pixels import Channels, read_pixels
from continual_df.errors import FrameTableError, UnreadableImageError


class ImageSource(Protocol):
    """Where pixels come from: files of a frame table, or the data sets of a foreign benchmark."""

    def __call__(self, sample: int) -> Tensor:
        """Return the image of frame-table row ``sample``, (C, H, W) uint8."""


def decode_image(path: Path, channels: Channels = 3) -> Tensor:
    """Return the image at ``path`` as (C, H, W) uint8, upright, RGB (3) or grey (1).

    Raises:
        UnreadableImageError: If the table of `continual_df.data.pixels` refuses the file.
    """
    return torch.from_numpy(read_pixels(path, channels).transpose(2, 0, 1).copy())


class TableImages:
    """The files of a frame table.

    Args:
        table: Frame table.
        channels: 3 for RGB, 1 for grey.
    """

    def __init__(self, table: FrameTable, channels: Channels = 3) -> None:
        self.root, self.channels = table.root, channels
        self.paths: list[str] = table.frame["path"].tolist()

    def __call__(self, sample: int) -> Tensor:
        """Return the image of row ``sample``, (C, H, W) uint8."""
        return decode_image(self.root / self.paths[sample], self.channels)


def drop_unreadable(table: FrameTable, max_share: float) -> tuple[FrameTable, list[tuple[int, int]]]:
    """Return ``table`` without the rows whose image cannot be decoded, and the (height, width) of the others.

    What is left out is listed in ``skipped``.

    Args:
        table: Frame table; every file of it is decoded once.
        max_share: Largest share of unreadable images in [0, 1] that is put up with.

    Raises:
        FrameTableError: If more than ``max_share`` of the images are unreadable.
    """

    def look(path: str) -> tuple[int, int] | str:
        try:
            height, width = decode_image(table.root / path).shape[1:]
        except UnreadableImageError as error:
            return str(error)
        return height, width

    with ThreadPoolExecutor() as pool:
        seen = list(pool.map(look, table.frame["path"]))
    bad = {row: reason for row, reason in enumerate(seen) if isinstance(reason, str)}
    if len(bad) > max_share * len(table):
        row, reason = next(iter(bad.items()))
        raise FrameTableError(
            f"{len(bad)} of {len(table)} images are unreadable, more than the share of {max_share:g} that "
            f"'max_unreadable' allows; the first: {reason.rstrip('.')}",
            file=table.root,
            row=row,
            fix="Restore the files, or raise data.init_args.max_unreadable",
        )
    skipped = [Skipped(str(table.frame.loc[row, "path"]), "unreadable image") for row in bad]
    readable = table.frame.drop(index=list(bad)).reset_index(drop=True)
    sizes = [size for size in seen if not isinstance(size, str)]
    return FrameTable(readable, table.root, [*table.skipped, *skipped]), sizes


def refuse_sizes(table: FrameTable, sizes: list[tuple[int, int]]) -> None:
    """Refuse images of different ``sizes`` (height, width), which no batch can hold.

    Raises:
        FrameTableError: Naming the first two that differ.
    """
    other = next((row for row, size in enumerate(sizes) if size != sizes[0]), None)
    if other is None:
        return
    first, second = (f"'{table.frame.loc[row, 'path']}' is {sizes[row][1]}x{sizes[row][0]}" for row in (0, other))
    raise FrameTableError(
        f"images differ in size: {first}, {second}",
        file=table.root,
        row=other,
        fix="Set data.init_args.image_size to resize all to one",
    )
