"""How much compute it takes to learn the n-th task as well as a reference does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from continual_df.evaluation.compute import flops_to_reach
from continual_df.plots.cost_group import CostGroup, by_stream, look_of, pairs, reference_of
from continual_df.plots.run_group import mean_measured
from continual_df.plots.style import GREY, flops_axis, label_ends, line_style, short_name, style

WIDTH, HEIGHT = 4.4, 2.9
"""Size of a panel's axes in inches."""


class Times(NamedTuple):
    """FLOPs spent in each task until the target was reached, or in all where it never was.

    Attributes:
        flops_ST: By pair of seeds and task; NaN where either run has no validations.
        reached_ST: Whether the target was reached.
    """

    flops_ST: NDArray[np.float64]
    reached_ST: NDArray[np.bool_]


def learning_time(groups: Sequence[CostGroup], reference: str) -> Figure:
    """Return one panel a stream: FLOPs spent in a task until its validation error first was the reference's last one.

    A mark is the mean over the seeds that both have. It is open where the target was not reached in some of them before the
    task ended; these count with all that they spent, so that the true time is longer. What a method pays in a task before it
    trains (choosing where to start, earlier trials of a search) counts; pretraining does not.

    Args:
        groups: One line each, all with validation curves.
        reference: Name of a group on every stream, whose own line shows when it first was as good as at its end.
    """
    streams, looks = by_stream(groups), look_of(groups)
    with style():
        figure = Figure(figsize=(len(streams) * (WIDTH + 1.5) + 0.4, HEIGHT + 0.9))
        grid = figure.subplots(1, len(streams), squeeze=False)
        for axes, (stream, members) in zip(grid.flat, streams.items(), strict=True):
            axes.set_title(stream)
            _panel(axes, members, reference_of(members, reference), looks)
        grid[0, 0].set_ylabel(f"FLOPs in the task to reach\nthe last validation AUC of {short_name(reference)}")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=2, frameon=False)
    return figure


def times_to_reach(group: CostGroup, reference: CostGroup) -> Times:
    """Return what each run of ``group`` took to be as good as the run of ``reference`` with its seed was at the end of the task."""
    paired = pairs(group, reference)
    shape = (len(paired), len(reference.tasks))
    times = Times(np.full(shape, np.nan), np.zeros(shape, dtype=bool))
    began = group.stream_flops()
    for row, (own, other) in enumerate(paired):
        for task in range(len(reference.tasks)):
            curve, target = group.curves[own].get(task + 1), reference.curves[other].get(task + 1)
            if curve is None or target is None:
                continue
            reached = flops_to_reach(curve.flops_E, curve.error_E, target.error_E[-1])
            times.reached_ST[row, task] = not np.isnan(reached)
            spent = curve.flops_E[-1] if np.isnan(reached) else reached
            times.flops_ST[row, task] = spent - began[own, task]
    return times


def _panel(axes: Axes, members: list[CostGroup], reference: CostGroup, looks: dict[str, int]) -> None:
    number = np.arange(1, len(reference.tasks) + 1)
    found = [times_to_reach(group, reference) for group in members]
    means = [mean_measured(times.flops_ST) if len(times.flops_ST) else np.full(len(number), np.nan) for times in found]
    shown = np.concatenate(means)
    shown = shown[shown > 0]
    if len(shown):
        axes.set_yscale("log")
        axes.set_ylim(shown.min() / 1.3, shown.max() * 1.3)
        flops_axis(axes.yaxis)
    axes.set_xlim(0.8, len(number) + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_xlabel("task of the stream")
    ends, names = [], []
    for group, times, mean in zip(members, found, means, strict=True):
        line = line_style(looks[group.name])
        axes.plot(number, mean, color=line["color"], linestyle=line["linestyle"], linewidth=1.3, zorder=2)
        every = (times.reached_ST | np.isnan(times.flops_ST)).all(axis=0)
        for full in (True, False):
            chosen = every == full
            axes.plot(number[chosen], mean[chosen], **_mark(line["marker"], line["color"], full))
        last = np.flatnonzero(~np.isnan(mean))[-1:]
        ends.append(float(mean[last[0]]) if len(last) else np.nan)
        names.append(short_name(group.name, 30) + (" (reference)" if group is reference else ""))
    label_ends(axes, len(number), ends, names, [line_style(looks[group.name])["color"] for group in members], HEIGHT)


def _mark(marker: str, colour: str, full: bool) -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": marker,
        "markersize": 5 if full else 6.5,
        "color": colour,
        "markerfacecolor": colour if full else "white",
        "markeredgewidth": 1.4,
        "zorder": 3,
    }


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], label="reached in every seed", **_mark("o", GREY, True)),
        Line2D([], [], label="not reached within the task in some seed: at least so much", **_mark("o", GREY, False)),
    ]
