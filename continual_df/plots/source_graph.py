"""Which earlier task's weights each task began with, and how well the features of every candidate fitted it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from continual_df.evaluation.weight_sources import START
from continual_df.plots.cost_group import CostGroup
from continual_df.plots.run_group import mean_measured
from continual_df.plots.style import COLOURS, GREY, numbered, short_name, style

CELL = 0.4
"""Side of a cell, and distance of two tasks, in inches."""

ARCS = 1.5
"""Height of the arcs in inches."""

FRESH = "fresh start"


def source_graph(groups: Sequence[CostGroup]) -> Figure:
    """Return one column a group: arcs from the task whose weights were taken to the task that began with them; below, why.

    An arc from the ring at the left is a fresh start: the weights with which the stream began. Below, each column is a task,
    each row a candidate; the number is the accuracy of the nearest neighbours among its features, in percent, and a frame marks
    what was taken. With several seeds, arcs and frames are as thick as the share of seeds that took them, and numbers are means.

    Args:
        groups: Methods that choose between earlier weights.
    """
    widest = max(len(group.tasks) for group in groups)
    share = [_shares(group) for group in groups]
    accuracy = [_accuracy(group) for group in groups]
    measured = np.concatenate([each[~np.isnan(each)] for each in accuracy])
    scale = Normalize(float(measured.min()), float(measured.max())) if len(measured) else Normalize(0, 1)
    with style():
        size = (max(len(groups) * ((widest + 1) * CELL + 2.2), 4.4), ARCS + widest * CELL + 2.2)
        figure = Figure(figsize=size)
        grid = figure.subplots(2, len(groups), squeeze=False, sharex="col", height_ratios=[ARCS, widest * CELL])
        several = len({group.runs.stream for group in groups}) > 1
        for column, group in enumerate(groups):
            seeds = f" ({len(group.sources)} seeds)" if len(group.sources) > 1 else ""
            grid[0, column].set_title(
                short_name(group.name + (f" on {group.runs.stream}" if several else ""), 30) + seeds
            )
            _arcs(grid[0, column], share[column])
            _candidates(grid[1, column], group, share[column], accuracy[column], scale)
        figure.suptitle("Where each task's weights came from", fontsize=11)
        figure.legend(handles=_legend(groups), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _shares(group: CostGroup) -> np.ndarray:
    """Return (T, T): the share of seeds in which task t + 1 (column) began with candidate s (row, 0 the start)."""
    taken = np.zeros((len(group.tasks),) * 2)
    for sources in group.sources:
        for number, start in sources.items():
            taken[start.source, number - 1] += 1
    return taken / len(group.sources)


def _accuracy(group: CostGroup) -> np.ndarray:
    """Return (T, T): the mean accuracy of candidate s (row) for task t + 1 (column); NaN where it was no candidate."""
    found = np.full((len(group.sources), *(len(group.tasks),) * 2), np.nan)
    for seed, sources in enumerate(group.sources):
        for number, start in sources.items():
            for candidate, value in start.accuracy.items():
                found[seed, candidate, number - 1] = value
    return mean_measured(found)


def _arcs(axes: Axes, share: np.ndarray) -> None:
    num_tasks = len(share)
    arcs = [(int(source), int(task) + 1) for source, task in zip(*np.nonzero(share), strict=True)]
    heights = [((number - source) / num_tasks) ** 0.6 for source, number in arcs]
    highest = max(0.7, *heights) if heights else 1.0  # short arcs should not be steep
    angle = np.linspace(np.pi, 0, 60)
    for (source, number), height in zip(arcs, heights, strict=True):
        part = share[source, number - 1]
        middle, half = (source + number) / 2, (number - source) / 2
        colour = GREY if source == START else COLOURS[0]
        x, y = middle + half * np.cos(angle), height * np.sin(angle)
        axes.plot(x, y, color=colour, linewidth=0.5 + 2 * part, alpha=0.35 + 0.6 * part, linestyle="-", zorder=2)
        axes.plot(
            number, 0.13 * highest, marker="v", markersize=3 + 2.5 * part, color=colour, zorder=3, markeredgewidth=0
        )
    axes.plot(START, 0, marker="o", markersize=11, color="white", markeredgecolor=GREY, markeredgewidth=1.4, zorder=4)
    axes.text(START - 0.5, 0, FRESH, ha="right", va="center", fontsize=8, color=GREY)
    for number in range(1, num_tasks + 1):
        axes.plot(number, 0, marker="o", markersize=12, color=COLOURS[0], zorder=4)
        axes.text(
            number,
            -0.01 * highest,
            str(number),
            ha="center",
            va="center",
            fontsize=7,
            color="white",
            weight="bold",
            zorder=5,
        )
    axes.set_ylim(-0.14 * highest, 1.05 * highest)
    axes.axis("off")


def _candidates(axes: Axes, group: CostGroup, share: np.ndarray, accuracy: np.ndarray, scale: Normalize) -> None:
    num_tasks = len(share)
    for source in range(num_tasks):
        for task in range(source, num_tasks):
            value, corner = accuracy[source, task], (task + 0.5, source - 0.5)
            if np.isnan(value):
                axes.add_patch(Rectangle(corner, 1, 1, facecolor="#F6F6F6", edgecolor="white", linewidth=1))
            else:
                colour = colormaps["Blues"](0.05 + 0.75 * float(scale(value)))
                axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
                ink = "white" if scale(value) > 0.65 else "black"
                axes.text(task + 1, source, f"{100 * value:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
            if part := share[source, task]:
                frame = Rectangle(
                    (corner[0] + 0.06, corner[1] + 0.06), 0.88, 0.88, fill=False, edgecolor="black", zorder=3
                )
                frame.set_linewidth(0.5 + 1.5 * part)
                axes.add_patch(frame)
    axes.set_xlim(-0.5, num_tasks + 0.5)
    axes.set_ylim(num_tasks - 0.5, -0.5)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    names = numbered(group.tasks)
    axes.set_xticks(range(1, num_tasks + 1), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num_tasks), [FRESH, *names[:-1]])
    axes.set_xlabel("task that began")
    axes.set_ylabel("weights of")


def _legend(groups: Sequence[CostGroup]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=COLOURS[0], linewidth=2, label="from an earlier task"),
        Line2D([], [], color=GREY, linewidth=2, label=FRESH),
    ]
    if any(len(group.sources) > 1 for group in groups):
        handles.append(Line2D([], [], color=GREY, linewidth=0.8, label="thinner: fewer seeds"))
    return handles
