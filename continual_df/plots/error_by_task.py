"""The error on every task right after it was learnt, beside that of a reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from continual_df.plots.cost_group import CostGroup, by_stream, error_label, look_of, reference_of
from continual_df.plots.run_group import mean_measured
from continual_df.plots.style import GREY, line_style, numbered, short_name, style

HEIGHT = 2.9
"""Height of a panel's axes in inches."""

SLOT = 0.16
"""Width of a method within a task in inches."""

WIDEST = 0.8
"""Part of a task's room that its methods take."""


def error_by_task(groups: Sequence[CostGroup], reference: str, metric: str = "auc") -> Figure:
    """Return one panel a stream: every task's error right after it was learnt, a mark a method.

    A mark is a mean over seeds, small ones are the seeds. The dark line across a task is the reference's mean; a stem leads
    from it to each mark: down is better. Tasks stand in the order of the stream, a repeated one each time.

    Args:
        groups: The methods.
        reference: Name of a group on every stream.
        metric: Key of the matrices in results.json.
    """
    streams, looks = by_stream(groups), look_of(groups)
    others = {stream: [group for group in members if group.name != reference] for stream, members in streams.items()}
    room = max(SLOT * max(map(len, others.values())), 0.35) / WIDEST
    widths = [len(members[0].tasks) * room for members in streams.values()]
    with style():
        figure = Figure(figsize=(max(sum(widths) + 0.9 * len(widths), 4.6), HEIGHT + 1.7))
        grid = figure.subplots(1, len(streams), squeeze=False, sharey=True, width_ratios=widths)
        for axes, (stream, members) in zip(grid.flat, streams.items(), strict=True):
            axes.set_title(stream)
            _panel(axes, members, reference_of(members, reference), metric, looks)
        top = grid[0, 0].get_ylim()[1]
        grid[0, 0].set_ylim(-0.02 * top, 1.06 * top)  # marks at zero stay whole
        grid[0, 0].set_ylabel(f"{error_label(metric)}, right after the task")
        figure.legend(handles=_legend(groups, looks, reference), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, members: list[CostGroup], reference: CostGroup, metric: str, looks: dict[str, int]) -> None:
    place = np.arange(len(reference.tasks))
    scratch = mean_measured(reference.errors(metric))
    slots = len(members) - 1
    for task in place[1::2]:
        axes.axvspan(task - 0.5, task + 0.5, color="#F6F6F6", linewidth=0, zorder=0)
    axes.hlines(scratch, place - WIDEST / 2, place + WIDEST / 2, color="black", linewidth=1.6, zorder=3)
    for slot, group in enumerate(group for group in members if group is not reference):
        look = line_style(looks[group.name])
        colour, marker = look["color"], look["marker"]
        x = place + ((slot + 0.5) / slots - 0.5) * WIDEST
        error = group.errors(metric)
        mean = mean_measured(error)
        axes.vlines(x, scratch, mean, color=colour, linewidth=1.1, alpha=0.6, zorder=2)
        if len(error) > 1:
            axes.plot(
                np.broadcast_to(x, error.shape).T,
                error.T,
                linestyle="none",
                marker=marker,
                markersize=2,
                color=colour,
                alpha=0.5,
            )
        axes.plot(
            x, mean, linestyle="none", marker=marker, markersize=5.5, color=colour, markeredgecolor="white", zorder=4
        )
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_xticks(place, numbered(reference.tasks), rotation=35, ha="right", rotation_mode="anchor")


def _legend(groups: Sequence[CostGroup], looks: dict[str, int], reference: str) -> list[Line2D]:
    handles = [Line2D([], [], color="black", linewidth=1.6, label=f"{short_name(reference, 30)} (reference)")]
    for name, index in looks.items():
        if name != reference:
            handles.append(
                Line2D([], [], markersize=5.5, label=short_name(name, 30), **{**line_style(index), "linestyle": "none"})
            )
    if any(len(group.costs) > 1 for group in groups):
        handles.append(Line2D([], [], linestyle="none", marker="o", markersize=2, color=GREY, label="single seed"))
    return handles
