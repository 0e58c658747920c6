"""Trivial statistics of image files: what tells classes apart without looking at a face.

They are those that leave a trace in the pixels that a detector sees: a name or a date in the metadata is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from PIL import Image, JpegImagePlugin

from continual_df.audit.jpeg_quality import jpeg_quality
from continual_df.data.file_hashes import hash_file
from continual_df.data.file_pool import Progress, over_files
from continual_df.data.frame_table import FrameTable
from continual_df.data.pixels import read_pixels
from continual_df.errors import UnreadableImageError

SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


class FileStatistics(NamedTuple):
    """What one image file looks like from afar.

    Attributes:
        size: Width x height in pixels, upright.
        log_pixels: Natural logarithm of their number.
        aspect: Width over height.
        log_file_size: Natural logarithm of the file's bytes.
        codec: Format of the content, whatever the file's ending.
        colour: Pillow's mode, such as ``RGB``.
        jpeg_quality: Estimate in 1..100; NaN for what is no JPEG.
        subsampling: Chroma subsampling of a JPEG.
        mean: Mean grey value, 0..255.
        std: Standard deviation of the grey value.
        log_laplacian: Natural logarithm of the mean squared Laplacian of the grey value plus 1.
        hash: `hash_file` of the file.
    """

    size: str
    log_pixels: float
    aspect: float
    log_file_size: float
    codec: str
    colour: str
    jpeg_quality: float
    subsampling: str
    mean: float
    std: float
    log_laplacian: float
    hash: str


def file_statistics(path: Path) -> FileStatistics:
    """Return the statistics of the image at ``path``.

    Raises:
        UnreadableImageError: If training would refuse the file.
    """
    grey = read_pixels(path, channels=1)[..., 0]
    with Image.open(path) as image:  # the header alone; the pixels were read by the rules of training
        codec, colour, quality, subsampling = image.format or "", image.mode, float("nan"), "none"
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            quality = jpeg_quality(image.quantization)
            subsampling = SUBSAMPLING.get(JpegImagePlugin.get_sampling(image), "other")
    height, width = grey.shape
    mean, std = (float(value.item()) for value in cv2.meanStdDev(grey))
    # 16 bits hold the Laplacian of 8-bit pixels, -1020..1020, in half the memory of floats
    edge_mean, edge_std = (float(value.item()) for value in cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S)))
    return FileStatistics(
        size=f"{width}x{height}",
        log_pixels=float(np.log(width * height)),
        aspect=width / height,
        log_file_size=float(np.log(path.stat().st_size)),
        codec=codec,
        colour=colour,
        jpeg_quality=quality,
        subsampling=subsampling,
        mean=mean,
        std=std,
        log_laplacian=float(np.log1p(edge_std**2 + edge_mean**2)),
        hash=hash_file(path),
    )


def table_statistics(
    table: FrameTable, samples: np.ndarray, progress: Progress | None = None
) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return the statistics of ``samples``, indexed by them, and why the others are unreadable.

    Args:
        table: Frame table.
        samples: (N,) distinct rows of it.
        progress: Called with (files read, files to read).
    """

    def look(path: Path) -> FileStatistics | str:
        try:
            return file_statistics(path)
        except UnreadableImageError as error:
            return str(error)

    paths = table.frame["path"].iloc[samples].tolist()
    rows: list[FileStatistics] = []
    readable: list[int] = []
    unreadable: dict[int, str] = {}
    for sample, found in zip(samples.tolist(), over_files(look, table.root, paths, progress), strict=True):
        if isinstance(found, str):
            unreadable[sample] = found
        else:
            readable.append(sample)
            rows.append(found)
    frame = pd.DataFrame(rows, columns=FileStatistics._fields, index=pd.Index(readable, name="sample", dtype=np.int64))
    return frame, unreadable
