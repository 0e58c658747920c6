"""From an image file to a uint8 tensor, and the check that every file can be read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from continual_df.data.frame_table import FrameTable, Skipped
from continual_df.errors import FrameTableError, UnreadableImageError

Channels = Literal[1, 3]


class ImageSource(Protocol):
    """Where pixels come from: files of a frame table, or the data sets of a foreign benchmark."""

    def __call__(self, sample: int) -> Tensor:
        """Return the image of frame-table row ``sample``, (C, H, W) uint8."""


def decode_image(path: Path, channels: Channels = 3) -> Tensor:
    """Return the image at ``path`` as (C, H, W) uint8, converted to RGB (3) or grey (1).

    Raises:
        UnreadableImageError: If the file is missing, truncated, empty or no image.
    """
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB" if channels == 3 else "L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"'{path}' cannot be read as an image: {error}.") from None
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())


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


def drop_unreadable(table: FrameTable, max_share: float) -> FrameTable:
    """Return ``table`` without the rows whose image cannot be decoded; they are listed in ``skipped``.

    Args:
        table: Frame table; every file of it is decoded once.
        max_share: Largest share of unreadable images in [0, 1] that is put up with.

    Raises:
        FrameTableError: If more than ``max_share`` of the images are unreadable.
    """

    def reason(path: str) -> str | None:
        try:
            decode_image(table.root / path)
        except UnreadableImageError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        reasons = list(pool.map(reason, table.frame["path"]))
    bad = [row for row, text in enumerate(reasons) if text is not None]
    if len(bad) > max_share * len(table):
        raise FrameTableError(
            f"{len(bad)} of {len(table)} images are unreadable, more than the share of {max_share:g} that "
            f"'max_unreadable' allows; the first: {reasons[bad[0]]}",
            file=table.root,
            row=bad[0],
            fix="Restore the files, or raise data.init_args.max_unreadable",
        )
    skipped = [Skipped(str(table.frame.loc[row, "path"]), "unreadable image") for row in bad]
    return FrameTable(table.frame.drop(index=bad).reset_index(drop=True), table.root, [*table.skipped, *skipped])
