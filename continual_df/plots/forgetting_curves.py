"""Forgetting curves: what becomes of each task while later ones are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from continual_df.plots.run_group import RunGroup
from continual_df.plots.style import (
    CHANCE,
    COLOURS,
    GREY,
    LABELS,
    chance_line,
    label_ends,
    limits,
    line_style,
    numbered,
    panel_grid,
    style,
)

WIDTH, HEIGHT = 3.5, 2.3
"""Size of a panel's axes in inches."""


def forgetting_curves(groups: Sequence[RunGroup], metric: str = "auc") -> Figure:
    """Return one panel per group with the metric of every task against the number of tasks trained.

    A ring marks where a task was learnt; before it the line is dotted (zero-shot). With several seeds the line is
    their mean and thin lines are the single seeds.

    Args:
        groups: One panel each; all panels share their axes.
        metric: Key of the matrices in results.json.
    """
    rows, columns = panel_grid(len(groups))
    values = np.concatenate([group.matrices(metric).ravel() for group in groups])
    bottom, top = limits(values, CHANCE.get(metric))
    with style():
        figure = Figure(figsize=(columns * (WIDTH + 1.3) + 0.4, rows * (HEIGHT + 0.6) + 0.5))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, group in zip(grid.flat, groups, strict=False):
            axes.set_ylim(bottom, top)
            _panel(axes, group, metric, several_streams=len({group.stream for group in groups}) > 1)
        for axes in grid.flat[len(groups) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel(LABELS[metric])
        figure.legend(handles=_legend(groups, metric), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, group: RunGroup, metric: str, several_streams: bool) -> None:
    matrices, mean = group.matrices(metric), group.mean_matrix(metric)
    num_tasks = len(group.tasks)
    trained = np.arange(num_tasks + 1)
    measured = np.flatnonzero(~np.isnan(mean).all(axis=1))
    last = int(measured[-1]) if len(measured) else 0
    axes.set_xlim(-0.2, num_tasks + 0.2)
    axes.set_xticks(trained)
    axes.set_xlabel("tasks trained")
    seeds = f", mean of {len(matrices)} seeds" if len(matrices) > 1 else ""
    axes.set_title(group.name + (f" on {group.stream}" if several_streams else "") + seeds)
    chance_line(axes, metric)
    colours = [COLOURS[task % len(COLOURS)] for task in range(num_tasks)]
    for task, colour in enumerate(colours):
        line = line_style(task)
        learnt = task + 1
        axes.plot(trained[: learnt + 1], mean[: learnt + 1, task], color=colour, linestyle=":", linewidth=1, alpha=0.75)
        if len(matrices) > 1:
            for matrix in matrices:
                axes.plot(trained[learnt:], matrix[learnt:, task], color=colour, linewidth=0.6, alpha=0.4)
        axes.plot(trained[learnt:], mean[learnt:, task], markersize=3.5, **line)
        axes.plot(
            learnt,
            mean[learnt, task],
            marker=line["marker"],
            markersize=7.5,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=1.8,
            linestyle="none",
            zorder=4,
            clip_on=False,
        )
    ends = [float(mean[last, task]) for task in range(num_tasks)]
    label_ends(axes, last, ends, numbered(group.tasks), colours, HEIGHT)


def _legend(groups: Sequence[RunGroup], metric: str) -> list[Line2D]:
    """Return what the marks mean; colours are named at the lines."""
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": 7.5,
        "markerfacecolor": "white",
        "markeredgewidth": 1.8,
        "linestyle": "none",
    }
    handles = [
        Line2D([], [], color=GREY, label="learnt here", **ring),
        Line2D([], [], color=GREY, linestyle=":", linewidth=1, label="before it is learnt"),
    ]
    if any(len(group.results) > 1 for group in groups):
        handles.append(Line2D([], [], color=GREY, linewidth=0.6, alpha=0.6, label="single seed (in its colour)"))
    if metric in CHANCE:
        handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="chance"))
    return handles
