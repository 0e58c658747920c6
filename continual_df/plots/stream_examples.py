"""Which images of a run's frame table the contact sheet shows."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from continual_df.class_names import BETWEEN, class_names
from continual_df.data.pixels import read_pixels
from continual_df.labels import REAL_METHOD
from continual_df.plots.contact_sheet import SIDE, Example, MethodRow
from continual_df.plots.contact_sheet import Image as Picture


def stream_examples(
    frame: pd.DataFrame, membership: pd.DataFrame, stream: dict[str, Any], root: Path, num: int = 3
) -> list[MethodRow]:
    """Return for every class of fakes in the stream, then for held-out ones and controls, ``num`` fakes with their reals.

    Fakes are taken evenly over the method's images. The real shown is of the same group, and among those the one whose
    file has the same name; for a method whose groups have no reals it is one of the same source, else none is shown.

    Args:
        frame: The frame table.
        membership: Samples by task and split; only images of the stream are shown.
        stream: ``stream.json``.
        root: Folder to which ``path`` and ``mask`` are relative.
        num: Examples a method.

    Raises:
        UnreadableImageError: If an image cannot be read.
    """
    shown = frame.iloc[np.unique(membership["sample"].to_numpy(dtype=np.int64))]
    places: dict[str, str] = {}
    for task in stream["tasks"]:
        for method in task["methods"]:
            number = task["index"] + 1  # a method may come again
            places[method] = f"{places[method]}, {number}" if method in places else f"task {number}"
        for method in task.get("unlabelled", []):
            places.setdefault(method, f"task {task['index'] + 1}, no label")
    classes = class_names(shown, [*places, *stream.get("held_out", [])])
    fake = shown["method"] != REAL_METHOD  # controls, too, whose label is that of reals
    for method in sorted(set(classes[fake]) - set(places)):
        places[method] = "control" if method.startswith("null_") else "held out"
    reals = shown[~fake]
    rows = []
    for method, place in places.items():
        if method.split(BETWEEN)[0] == REAL_METHOD:  # an open-world stream may name the reals of one source
            continue
        fakes = shown[fake & (classes == method)]
        # one a group where there are enough groups, so that the examples differ
        distinct = fakes.drop_duplicates("group")
        chosen = _evenly(distinct if len(distinct) >= num else fakes, num)
        examples = [_example(fake, _twin(fake, reals), root) for _, fake in chosen.iterrows()]
        rows.append(MethodRow(place, method, examples))
    return rows


def _evenly(frame: pd.DataFrame, num: int) -> pd.DataFrame:
    """Return up to ``num`` rows, evenly over ``frame``."""
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(num, len(frame))).round().astype(int))]


def _twin(fake: pd.Series, reals: pd.DataFrame) -> pd.Series | None:
    """Return the real that fits ``fake`` best."""
    related = reals[reals["group"] == fake["group"]]
    related = related if len(related) else reals[reals["source"] == fake["source"]]
    if not len(related):
        return None
    stem = PurePosixPath(fake["path"]).stem
    same = [PurePosixPath(path).stem == stem for path in related["path"]]
    return (related[same] if any(same) else related).iloc[0]


def _example(fake: pd.Series, real: pd.Series | None, root: Path) -> Example:
    mask = fake.get("mask", "")
    return Example(
        real=None if real is None else _read(root / real["path"]),
        fake=_read(root / fake["path"]),
        mask=_read(root / mask) if isinstance(mask, str) and mask else None,
    )


def _read(path: Path) -> Picture:
    """Return the image in ``path`` as a SIDE x SIDE square, padded with light grey where it is not square, so that masks have an edge."""
    image = Image.fromarray(read_pixels(path))
    square = ImageOps.pad(image, (SIDE, SIDE), Image.Resampling.BICUBIC, color=(235, 235, 235))
    return np.asarray(square, dtype=np.uint8)
