"""From an image file to a uint8 tensor, and the check that every file can be read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pandas as pd
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


class CachedImages:
    """The images of ``source``, each decoded when it is first asked for and kept in memory by this process.

    Args:
        source: Where the pixels come from.
    """

    def __init__(self, source: ImageSource) -> None:
        self.source = source
        self.kept: dict[int, Tensor] = {}

    def __call__(self, sample: int) -> Tensor:
        """Return a copy of the image of row ``sample``, (C, H, W) uint8: a transform may write into it."""
        if sample not in self.kept:
            self.kept[sample] = self.source(sample)
        return self.kept[sample].clone()


Size = tuple[int, int]
"""Height and width."""


def drop_unreadable(
    table: FrameTable, max_share: float, rows: pd.Series | None = None
) -> tuple[FrameTable, list[Size | None]]:
    """Return ``table`` without the rows whose image cannot be decoded, and the size of each of the others.

    What is left out is listed in ``skipped``.

    Args:
        table: Frame table; every file of it is decoded once.
        max_share: Largest share of unreadable images in [0, 1] that is put up with.
        rows: True where a file is to be decoded; by default everywhere. Others are kept, without a size.

    Raises:
        FrameTableError: If more than ``max_share`` of the images looked at are unreadable.
    """

    def look(path: str) -> Size | str:
        try:
            height, width = decode_image(table.root / path).shape[1:]
        except UnreadableImageError as error:
            return str(error)
        return height, width

    paths = table.frame["path"] if rows is None else table.frame.loc[rows, "path"]
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(paths.index, pool.map(look, paths), strict=True))
    bad = {row: reason for row, reason in seen.items() if isinstance(reason, str)}
    if len(bad) > max_share * len(seen):
        row, reason = next(iter(bad.items()))
        raise FrameTableError(
            f"{len(bad)} of {len(seen)} images are unreadable, more than the share of {max_share:g} that "
            f"'max_unreadable' allows; the first: {reason.rstrip('.')}",
            file=table.root,
            row=row,
            fix="Restore the files, or raise data.init_args.max_unreadable",
        )
    skipped = [Skipped(str(table.frame.loc[row, "path"]), "unreadable image") for row in bad]
    readable = table.frame.drop(index=list(bad))
    sizes = [None if isinstance(size := seen.get(row), str) else size for row in readable.index]
    return FrameTable(readable.reset_index(drop=True), table.root, [*table.skipped, *skipped]), sizes


def refuse_sizes(table: FrameTable, sizes: list[Size | None]) -> None:
    """Refuse images of different ``sizes``, None where nobody looked: no batch can hold them.

    Raises:
        FrameTableError: Naming the first two that differ.
    """
    known = {row: size for row, size in enumerate(sizes) if size is not None}
    different = next(((row, other) for row in list(known)[:1] for other in known if known[other] != known[row]), None)
    if different is None:
        return
    first, second = (f"'{table.frame.loc[row, 'path']}' is {known[row][1]}x{known[row][0]}" for row in different)
    raise FrameTableError(
        f"images differ in size: {first}, {second}",
        file=table.root,
        row=different[1],
        fix="Set data.init_args.image_size to resize all to one",
    )
