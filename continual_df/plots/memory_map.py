"""What the memory picked of each task: the training images by distance and angle from their domain's centre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from continual_df.evaluation.embedding_files import Embedding
from continual_df.evaluation.latent_geometry import magnitude_and_angle
from continual_df.plots.style import COLOURS, GREY, style

WIDTH, HEIGHT = 2.3, 1.9
"""Size of a panel's axes in inches."""

ACROSS = 5
"""Tasks side by side at most."""

PALE = "#C4C4C4"


def memory_map(embeddings: Sequence[Embedding], tasks: Sequence[dict[str, Any]], title: str) -> Figure:
    """Return two panels a task, its reals and its fakes, as the model saw them when the task had just ended.

    x is the magnitude ``M = ||f - c||`` of a feature f, with c the mean of its domain; y is the angle between f - c and the
    first principal direction of the domain (0 and 180 degrees: along it; in a space of many dimensions, most lie near 90).
    Remembered images are marked. Centre and direction are those of the uniform sub-sample, which is drawn in grey.

    Args:
        embeddings: Features after each task, in order.
        tasks: Those of ``stream.json``.
        title: Name of the run.
    """
    bands = math.ceil(len(embeddings) / ACROSS)
    columns = math.ceil(len(embeddings) / bands)
    with style():
        figure = Figure(figsize=(max(columns * (WIDTH + 0.1) + 0.7, 4.6), bands * (2 * HEIGHT + 0.9) + 0.8))
        grid = figure.subplots(2 * bands, columns, squeeze=False, sharey=True)
        for index, embedding in enumerate(embeddings):
            band, column = divmod(index, columns)
            real, fake = grid[2 * band, column], grid[2 * band + 1, column]
            real.sharex(fake)
            real.tick_params(labelbottom=False)
            _panel(real, embedding, 0)
            _panel(fake, embedding, 1)
            real.set_title(f"{embedding.number} {tasks[embedding.number - 1]['name']}")
            fake.set_xlabel("magnitude")
            fake.set_xlim(left=0)
        for index in range(len(embeddings), bands * columns):
            for axes in grid[2 * (index // columns) :, index % columns]:
                axes.remove()
        for row, axes in enumerate(grid[:, 0]):
            axes.set_ylabel(f"{('real', 'fake')[row % 2]}: angle to main direction")
            axes.set_ylim(0, 180)
            axes.set_yticks(range(0, 181, 45), [f"{angle}\N{DEGREE SIGN}" for angle in range(0, 181, 45)])
        figure.suptitle(f"{title}: what the memory picked when each task ended", fontsize=11)
        figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, embedding: Embedding, label: int) -> None:
    rows = embedding.rows
    own = rows[(rows["split"] == "train") & (rows["task"] == embedding.number - 1) & (rows["label"] == label)]
    drawn, chosen = own["drawn"].to_numpy(), own["in_memory"].to_numpy()
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    note: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "top", "fontsize": 8, "color": GREY}
    axes.text(0.98, 0.97, f"{chosen.sum()} picked", bbox=box, zorder=5, **note)
    if drawn.sum() < 2:  # no spread, so no direction
        return
    feature_ND = embedding.feature_ND[own.index]
    magnitude, angle = magnitude_and_angle(feature_ND, feature_ND[drawn])
    axes.scatter(magnitude[~chosen], angle[~chosen], s=8, color=PALE, linewidths=0)
    axes.scatter(
        magnitude[chosen], angle[chosen], s=15, color=COLOURS[label], edgecolors="white", linewidths=0.4, zorder=3
    )


def _legend() -> list[Line2D]:
    dot: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    return [
        Line2D([], [], color=COLOURS[0], markersize=5, label="real in memory", **dot),
        Line2D([], [], color=COLOURS[1], markersize=5, label="fake in memory", **dot),
        Line2D([], [], color=PALE, markersize=4, label="other training image", **dot),
    ]
