"""Contact sheet of a stream: for every method a few reals, the fakes made from them, and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from continual_df.plots.style import GREY, style

Image = NDArray[np.uint8]

SIDE = 96
"""Side of a picture in the sheet, in pixels."""
INCHES = 0.8
"""The same in inches."""
FRAME = 150
"""Grey level of the line around a picture, one pixel wide."""
GAP = 6
WIDE_GAP = 18


class Example(NamedTuple):
    """Pictures of one fake, (SIDE, SIDE, 3) each; None where there is none."""

    real: Image | None
    fake: Image | None
    mask: Image | None


class MethodRow(NamedTuple):
    """One line of the sheet.

    Attributes:
        place: Where the method stands in the stream, such as ``task 1`` or ``held out``.
        method: Its name.
        examples: Pictures, the same number for every method or fewer.
    """

    place: str
    method: str
    examples: Sequence[Example]


def contact_sheet(rows: Sequence[MethodRow], stream: str) -> Figure:
    """Return the sheet; the columns of masks are left out where no method has one.

    Args:
        rows: Methods in the order of the stream, at least one.
        stream: Name of the stream, for the title.
    """
    kinds = ["real", "fake"]
    if any(example.mask is not None for row in rows for example in row.examples):
        kinds.append("mask")
    num_examples = max(1, *(len(row.examples) for row in rows))
    block = len(kinds) * (SIDE + GAP) - GAP + WIDE_GAP
    width, height = num_examples * block - WIDE_GAP, len(rows) * (SIDE + GAP) - GAP
    sheet = np.full((height, width, 3), 255, dtype=np.uint8)
    centres: list[tuple[float, str]] = []
    with style():
        figure = Figure(figsize=(width / SIDE * INCHES + 2.0, height / SIDE * INCHES + 0.7))
        axes = figure.subplots()
        for index in range(num_examples):
            for position, kind in enumerate(kinds):
                x = index * block + position * (SIDE + GAP)
                centres.append((x + SIDE / 2, kind))
                for line, row in enumerate(rows):
                    y = line * (SIDE + GAP)
                    picture = getattr(row.examples[index], kind) if index < len(row.examples) else None
                    if picture is None:
                        sheet[y : y + SIDE, x : x + SIDE] = 240
                        axes.text(
                            x + SIDE / 2, y + SIDE / 2, f"no {kind}", ha="center", va="center", fontsize=7, color=GREY
                        )
                    else:
                        sheet[y : y + SIDE, x : x + SIDE] = FRAME  # or the mask of a whole image is white on white
                        sheet[y + 1 : y + SIDE - 1, x + 1 : x + SIDE - 1] = picture[1:-1, 1:-1]
        axes.imshow(sheet, interpolation="none")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        axes.set_xticks([x for x, _ in centres], [kind for _, kind in centres])
        axes.set_yticks(
            [line * (SIDE + GAP) + SIDE / 2 for line in range(len(rows))],
            [f"{row.method}\n{row.place}" for row in rows],
        )
        axes.set_title(f"Stream {stream}")
    return figure
