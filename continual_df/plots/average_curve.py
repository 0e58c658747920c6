"""The average over the tasks learnt so far, one line per method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from continual_df.evaluation.matrix import average_curve as average_of
from continual_df.plots.run_group import RunGroup, deviation_measured, mean_measured
from continual_df.plots.style import CHANCE, COLOURS, GREY, LABELS, chance_line, label_ends, limits, line_style, style

WIDTH, HEIGHT = 4.0, 2.7
"""Size of a panel's axes in inches."""


def average_curve(groups: Sequence[RunGroup], metric: str = "auc") -> Figure:
    """Return one panel per stream with the mean of ``metric`` over the tasks learnt so far.

    Each method is a line: the mean over its seeds, with a band of one standard deviation (n - 1) over the seeds of
    that average where there are several.

    Args:
        groups: One line each.
        metric: Key of the matrices in results.json.
    """
    streams: dict[tuple[str, ...], list[RunGroup]] = {}
    for group in groups:
        streams.setdefault((group.stream, *group.tasks), []).append(group)
    curves = {id(group): _curves(group, metric) for group in groups}
    bottom, top = limits(np.concatenate([curve.ravel() for curve in curves.values()]), None)
    with style():
        figure = Figure(figsize=(len(streams) * (WIDTH + 1.6) + 0.4, HEIGHT + 0.9))
        grid = figure.subplots(1, len(streams), squeeze=False, sharey=True)
        for axes, ((stream, *tasks), members) in zip(grid.flat, streams.items(), strict=True):
            axes.set_ylim(bottom, top)
            axes.set_yticks(
                [tick for tick in axes.get_yticks() if bottom <= tick <= 1]
            )  # room above, but no share there
            axes.set_xlim(0.8, len(tasks) + 0.2)
            axes.set_xticks(range(1, len(tasks) + 1))
            axes.set_xlabel("tasks trained")
            axes.set_title(stream)
            if bottom < CHANCE.get(metric, bottom) < top:
                chance_line(axes, metric)
            trained = np.arange(1, len(tasks) + 1)
            names, ends = [], []
            for index, group in enumerate(members):
                mean, spread = mean_measured(curves[id(group)]), deviation_measured(curves[id(group)])
                axes.fill_between(
                    trained, mean - spread, mean + spread, color=COLOURS[index % len(COLOURS)], alpha=0.18, linewidth=0
                )
                axes.plot(trained, mean, markersize=5, **line_style(index))
                measured = np.flatnonzero(~np.isnan(mean))
                last = measured[-1] if len(measured) else 0
                ends.append(float(mean[last]))
                around = f" \N{PLUS-MINUS SIGN} {spread[last]:.3f}" if not np.isnan(spread[last]) else ""
                names.append(f"{group.name} {mean[last]:.3f}{around}")
            colours = [COLOURS[index % len(COLOURS)] for index in range(len(members))]
            label_ends(axes, len(tasks), ends, names, colours, HEIGHT)
        grid[0, 0].set_ylabel(f"{LABELS[metric]}, mean of tasks so far")
        if any(len(group.results) > 1 for group in groups):
            band = Patch(
                color=GREY, alpha=0.25, linewidth=0, label="\N{PLUS-MINUS SIGN} 1 standard deviation over seeds"
            )
            figure.legend(handles=[band], loc="outside lower center", frameon=False)
    return figure


def _curves(group: RunGroup, metric: str) -> np.ndarray:
    """Return (S, T): the average after each task, for every seed."""
    return np.stack([average_of(matrix)[1:] for matrix in group.matrices(metric)])
