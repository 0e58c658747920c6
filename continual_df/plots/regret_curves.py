"""How much worse or better than a reference each method has done so far, summed over the tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from continual_df.evaluation.compute import cumulative_regret
from continual_df.plots.cost_group import CostGroup, by_stream, error_label, look_of, pairs, reference_of
from continual_df.plots.run_group import mean_measured
from continual_df.plots.style import GREY, label_ends, line_style, short_name, style

WIDTH, HEIGHT = 4.0, 2.9
"""Size of a panel's axes in inches."""


def regret_curves(groups: Sequence[CostGroup], reference: str, metric: str = "auc") -> Figure:
    """Return one panel a stream with every method's cumulative regret against ``reference`` after each task.

    A line is the mean over the seeds that both have, thin lines are these seeds. Below zero a method has made fewer errors
    than the reference. A line ends before a task that was not measured.

    Args:
        groups: One line each, but for the reference, which is zero.
        reference: Name of a group on every stream.
        metric: Key of the matrices in results.json.
    """
    streams, looks = by_stream(groups), look_of(groups)
    with style():
        figure = Figure(figsize=(len(streams) * (WIDTH + 1.7) + 0.4, HEIGHT + 0.9))
        grid = figure.subplots(1, len(streams), squeeze=False)
        singles = False
        for axes, (stream, members) in zip(grid.flat, streams.items(), strict=True):
            axes.set_title(stream)
            singles |= _panel(axes, members, reference_of(members, reference), metric, looks)
        grid[0, 0].set_ylabel(f"cumulative regret ({error_label(metric)})")
        if singles:
            seed = Line2D([], [], color=GREY, linewidth=0.6, alpha=0.6, label="single seed (in its method's colour)")
            figure.legend(handles=[seed], loc="outside lower center", frameon=False)
    return figure


def _panel(axes: Axes, members: list[CostGroup], reference: CostGroup, metric: str, looks: dict[str, int]) -> bool:
    """Draw one panel, and return whether it shows single seeds."""
    num_tasks = len(reference.tasks)
    trained = np.arange(num_tasks + 1)
    scratch = reference.errors(metric)
    curves = []
    for group in members:
        error = group.errors(metric)
        found = [np.r_[0, cumulative_regret(error[a], scratch[b])] for a, b in pairs(group, reference)]
        curves.append(np.stack(found) if found else np.full((1, num_tasks + 1), np.nan))
    everything = np.concatenate([curve.ravel() for curve in curves])
    low, high = np.nanmin(everything), np.nanmax(everything)
    room = 0.06 * max(high - low, 0.02)
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(0, num_tasks + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set_xlabel("tasks learnt")
    ends, names, singles = [], [], False
    for group, curve in zip(members, curves, strict=True):
        line = line_style(looks[group.name])
        mean = mean_measured(curve)
        if group is not reference and len(curve) > 1:
            singles = True
            for single in curve:
                axes.plot(trained, single, color=line["color"], linewidth=0.6, alpha=0.4)
        axes.plot(trained, mean, markersize=4, **line)
        last = np.flatnonzero(~np.isnan(mean))[-1:]
        ends.append(float(mean[last[0]]) if len(last) else np.nan)
        total = f"{ends[-1]:+.3f}".replace("-", "\N{MINUS SIGN}")
        names.append(f"{short_name(group.name, 30)} {'(reference)' if group is reference else total}")
    label_ends(axes, num_tasks, ends, names, [line_style(looks[group.name])["color"] for group in members], HEIGHT)
    return singles
