"""How often unlabelled images find a partner, and one of their class, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from continual_df.plots.run_group import RunGroup, deviation_measured, mean_measured
from continual_df.plots.style import COLOURS, GREY, label_ends, line_style, short_name, style

PANELS = {
    "rate": "unlabelled images with a partner",
    "precision_known": "partner of the same class,\nimages of known classes",
    "precision_novel": "partner of the same class,\nimages of novel classes",
}

WIDTH, HEIGHT = 3.0, 2.7
"""Size of a panel's axes in inches."""


class PairGroup(NamedTuple):
    """A group with what `read_pair_curves` has found of each of its runs, none of it empty."""

    runs: RunGroup
    curves: list[pd.DataFrame]


def pair_curves(groups: Sequence[PairGroup]) -> Figure:
    """Return a row of panels for each stream: the shares of `PANELS` in each epoch, tasks one after another.

    Each method is a line, the mean over its seeds, with a band of one standard deviation (n - 1) where there are several.

    Args:
        groups: One line each.
    """
    streams: dict[tuple[str, ...], list[PairGroup]] = {}
    for group in groups:
        streams.setdefault((group.runs.stream, *group.runs.tasks), []).append(group)
    names = list(dict.fromkeys(group.runs.name for group in groups))
    with style():
        figure = Figure(figsize=(len(PANELS) * (WIDTH + 0.6) + 1.4, len(streams) * (HEIGHT + 0.9)))
        grid = figure.subplots(len(streams), len(PANELS), squeeze=False, sharey=True)
        for row, ((stream, *_), members) in zip(grid, streams.items(), strict=True):
            for axes, key in zip(row, PANELS, strict=True):
                axes.set_title(PANELS[key])
                _panel(axes, members, key, names)
            row[0].set_ylabel(f"share, {stream}" if stream else "share")
            label_ends(
                row[-1],
                row[-1].get_xlim()[1],
                [_last(group, key) for group in members],
                [short_name(group.runs.name) for group in members],
                [COLOURS[names.index(group.runs.name) % len(COLOURS)] for group in members],
                HEIGHT,
            )
    return figure


def _panel(axes: Axes, members: list[PairGroup], key: str, names: list[str]) -> None:
    longest: pd.DataFrame = max((curve for group in members for curve in group.curves), key=len)
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0.5, len(longest) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epoch")
    task_E = longest.index.get_level_values("task").to_numpy()
    for border in np.flatnonzero(np.diff(task_E)):
        axes.axvline(border + 1.5, color=GREY, linewidth=0.8, linestyle="--")
    for group in members:
        share_SE = _shares(group, key)
        mean, spread = mean_measured(share_SE), deviation_measured(share_SE)
        line = line_style(names.index(group.runs.name))
        epoch = np.arange(1, len(mean) + 1)
        axes.fill_between(epoch, mean - spread, mean + spread, color=line["color"], alpha=0.18, linewidth=0)
        axes.plot(epoch, mean, markersize=3.5, **line)


def _shares(group: PairGroup, key: str) -> np.ndarray:
    """Return (S, E), NaN behind the end of shorter runs."""
    index = max((curve.index for curve in group.curves), key=len)
    return np.stack([curve[key].reindex(index).to_numpy(dtype=np.float64) for curve in group.curves])


def _last(group: PairGroup, key: str) -> float:
    """Return the height of the last point of a line, NaN where it has none."""
    mean = mean_measured(_shares(group, key))
    measured = mean[~np.isnan(mean)]
    return float(measured[-1]) if len(measured) else np.nan
