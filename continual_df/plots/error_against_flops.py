"""Error against what it took to learn: a point a method, and the front that nobody beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from continual_df.evaluation.compute import average_error, pareto_front
from continual_df.plots.cost_group import CostGroup, by_stream, error_label, look_of
from continual_df.plots.point_labels import label_points
from continual_df.plots.style import GREY, flops_axis, line_style, short_name, style

WIDTH, HEIGHT = 4.6, 3.3
"""Size of a panel's axes in inches."""

ISO = "#D4D4D4"


def error_against_flops(groups: Sequence[CostGroup], metric: str = "auc", suffix: int | None = None) -> Figure:
    """Return one panel a stream: average error right after each task against all FLOPs of learning, on a log axis.

    A large mark is a method's mean over seeds, small ones its seeds. The dark steps are the Pareto front of the means: the
    lowest error at each budget. Along a grey line, error x FLOPs is constant: who moves along it halves the error by paying
    twice as much. Pretraining, which was paid elsewhere, is left out.

    Args:
        groups: One point each; those without an error or without FLOPs are left out.
        metric: Key of the matrices in results.json.
        suffix: Average over the last so many tasks; default all.
    """
    streams, looks = by_stream(groups), look_of(groups)
    with style():
        figure = Figure(figsize=(len(streams) * (WIDTH + 0.5) + 0.4, HEIGHT + 1.3))
        grid = figure.subplots(1, len(streams), squeeze=False)
        drawn = []
        for axes, (stream, members) in zip(grid.flat, streams.items(), strict=True):
            axes.set_title(stream)
            axes.set_xscale("log")
            axes.set_xlabel("FLOPs to learn the whole stream")
            axes.yaxis.set_major_locator(MaxNLocator(6))
            drawn.append((axes, members, [_points(group, metric, suffix) for group in members]))
            _set_limits(axes, np.concatenate(drawn[-1][2]))
            flops_axis(axes.xaxis)
        over = f"mean of the last {suffix} tasks" if suffix else "mean over tasks"
        grid[0, 0].set_ylabel(f"{error_label(metric)} after each task, {over}")
        figure.legend(
            handles=_legend(groups, sorted({_iso_factor(axes) for axes in grid.flat})),
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        figure.draw_without_rendering()  # names need the final layout
        for axes, members, points in drawn:
            _panel(axes, members, points, looks)
    return figure


def _points(group: CostGroup, metric: str, suffix: int | None) -> np.ndarray:
    """Return (S, 2): FLOPs and error of each run in which both are known."""
    flops = group.flops().sum(axis=1)
    error = [average_error(errors, suffix) for errors in group.errors(metric)]
    points = np.stack([flops, error], axis=1)
    known: np.ndarray = points[~np.isnan(points).any(axis=1) & (flops > 0)]
    return known


def _set_limits(axes: Axes, points: np.ndarray) -> None:
    """Leave room for names around all points; at least a factor of four in FLOPs, and a twentieth in error."""
    if not len(points):
        return
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    middle, half = np.sqrt(left * right), max(np.sqrt(right / left) ** 1.35, 2)
    axes.set_xlim(middle / half, middle * half)
    room = max(0.15 * (top - bottom), 0.015)
    axes.set_ylim(max(bottom - room, -0.01), top + room)


def _panel(axes: Axes, members: list[CostGroup], points: list[np.ndarray], looks: dict[str, int]) -> None:
    shown = [at for at, each in enumerate(points) if len(each)]
    if not shown:
        return
    means = np.array([points[at].mean(axis=0) for at in shown])
    _iso_lines(axes, means)
    front = means[pareto_front(means[:, 0], means[:, 1])]
    (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    corners = np.stack([front[1:, 0], front[:-1, 1]], axis=1)
    inner = np.stack([front[:-1], corners], axis=1).reshape(-1, 2)
    steps = np.array([[front[0, 0], top], *inner, front[-1], [right, front[-1, 1]]])
    axes.plot(*steps.T, color="black", linewidth=1.1, alpha=0.75, zorder=2)
    colours = [line_style(looks[group.name])["color"] for group in members]
    for at, mean in zip(shown, means, strict=True):
        colour, marker = colours[at], line_style(looks[members[at].name])["marker"]
        if len(points[at]) > 1:
            axes.plot(*points[at].T, linestyle="none", marker=marker, markersize=3, color=colour, alpha=0.5, zorder=3)
        axes.plot(*mean, marker=marker, markersize=8, color=colour, markeredgecolor="white", zorder=4)
    seeds = np.concatenate([points[at] for at in shown])
    label_points(
        axes, means, [short_name(members[at].name, 30) for at in shown], [colours[at] for at in shown], seeds, steps
    )


def _iso_lines(axes: Axes, means: np.ndarray) -> None:
    """Draw lines of equal error x FLOPs, one of them through the point that has least."""
    limits = axes.get_xlim(), axes.get_ylim()
    product = means[:, 0] * means[:, 1]
    if not (product > 0).any():
        return
    factor = _iso_factor(axes)
    x = np.geomspace(*limits[0], 200)
    lowest, highest = limits[0][0] * max(limits[1][0], 1e-3), limits[0][1] * limits[1][1]
    start = product[product > 0].min()
    for power in range(math.floor(math.log(lowest / start, factor)), math.ceil(math.log(highest / start, factor)) + 1):
        axes.plot(x, start * factor**power / x, color=ISO, linewidth=0.8, zorder=0.5)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])


def _iso_factor(axes: Axes) -> int:
    """Return the factor between neighbouring lines: 2, or 10 where a panel spans more than 30 times the FLOPs."""
    left, right = axes.get_xlim()
    return 10 if right / left > 30 else 2


def _legend(groups: Sequence[CostGroup], factors: list[int]) -> list[Line2D]:
    apart = " or ".join(map(str, factors))
    handles = [
        Line2D([], [], color="black", linewidth=1.1, alpha=0.75, label="Pareto front"),
        Line2D(
            [],
            [],
            color=ISO,
            linewidth=0.8,
            label=f"equal error \N{MULTIPLICATION SIGN} FLOPs, a factor of {apart} apart",
        ),
    ]
    if any(len(group.costs) > 1 for group in groups):
        handles.append(Line2D([], [], color=GREY, marker="o", markersize=3, linestyle="none", label="single seed"))
    return handles
