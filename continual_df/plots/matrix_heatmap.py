"""The matrix as a heat map with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from continual_df.evaluation.matrix import average_curve
from continual_df.evaluation.results import LOWER_IS_BETTER
from continual_df.plots.run_group import RunGroup, mean_measured
from continual_df.plots.style import LABELS, numbered, panel_grid, style

CELL = 0.47
"""Height of a cell in inches; its width is a quarter more."""

LETTER = 0.065
"""Width of a letter of a task's name in inches."""


def matrix_heatmap(groups: Sequence[RunGroup], metric: str = "auc") -> Figure:
    """Return one panel per group: rows are tasks trained, columns test sets; darker is better.

    With several seeds a cell is their mean. A frame marks the cells in which a task was just learnt; the line below
    which tasks are learnt separates them from zero-shot cells; a dash is a cell that was not measured. The column at
    the right is the mean over the tasks learnt so far.

    Args:
        groups: One panel each, all on one colour scale.
        metric: Key of the matrices in results.json.
    """
    rows, columns = panel_grid(len(groups))
    widest = max(len(group.tasks) for group in groups)
    means = [group.mean_matrix(metric) for group in groups]
    measured = np.concatenate([mean.ravel() for mean in means])
    measured = measured[~np.isnan(measured)]
    low, high = (float(measured.min()), float(measured.max())) if len(measured) else (0.0, 1.0)
    scale = Normalize(min(low, high - 0.1), high)
    # the names hang from the cells at 35 degrees, to the left of the first one too
    letters = max(len(name) for group in groups for name in numbered(group.tasks))
    size = (
        columns * ((widest + 1.3) * CELL * 1.25 + max(1.1, 0.3 + 0.82 * LETTER * letters)),
        rows * ((widest + 1) * CELL + 0.75 + 0.57 * LETTER * letters),
    )
    several = len({group.stream for group in groups}) > 1
    with style():
        figure = Figure(figsize=size)
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, (axes, group, mean) in enumerate(zip(grid.flat, groups, means, strict=False)):
            seeds = f", mean of {len(group.results)} seeds" if len(group.results) > 1 else ""
            axes.set_title(group.name + (f" on {group.stream}" if several else "") + seeds)
            average = mean_measured(np.stack([average_curve(matrix) for matrix in group.matrices(metric)]))
            _panel(axes, mean, average, group.tasks, scale, metric)
            if index % columns == 0:
                axes.set_ylabel(f"{LABELS[metric]} after task")
        for axes in grid.flat[len(groups) :]:
            axes.remove()
        layout = figure.get_layout_engine()
        assert layout is not None
        for _ in range(2):  # axes that keep their aspect stand right in the third pass only, that of saving
            layout.execute(figure)
    return figure


def _panel(axes: Axes, mean: np.ndarray, average: np.ndarray, tasks: list[str], scale: Normalize, metric: str) -> None:
    colours = colormaps["Blues_r" if metric in LOWER_IS_BETTER else "Blues"]
    num_tasks = len(tasks)
    right = num_tasks + 0.3  # a gap sets the average apart
    for row in range(num_tasks + 1):
        for column in range(num_tasks + 1):
            value = average[row] if column == num_tasks else mean[row, column]
            if column == num_tasks and row == 0:
                continue
            x = right if column == num_tasks else column
            _cell(axes, x, row, float(value), scale, colours, bold=column == num_tasks)
    for task in range(num_tasks):
        axes.add_patch(Rectangle((task, task + 1), 1, 1, fill=False, edgecolor="black", linewidth=1.6, zorder=3))
    axes.set_xlim(0, right + 1)
    axes.set_ylim(num_tasks + 1, 0)
    axes.set_aspect(1 / 1.25)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    centres = [*(np.arange(num_tasks) + 0.5), right + 0.5]
    axes.set_xticks(
        centres, [*numbered(tasks), "mean of\ntasks so far"], rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(np.arange(num_tasks + 1) + 0.5, ["none", *map(str, range(1, num_tasks + 1))])


def _cell(axes: Axes, x: float, y: float, value: float, scale: Normalize, colours: Colormap, bold: bool) -> None:
    """Draw one cell and its number, white on dark and black on light ground."""
    if np.isnan(value):
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#F3F3F3", edgecolor="white", hatch="///", linewidth=0))
        axes.text(x + 0.5, y + 0.5, "\N{EN DASH}", ha="center", va="center", fontsize=8, color="#666666")
        return
    colour = colours(0.08 + 0.82 * float(scale(value)))
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="white", linewidth=1))
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    text = f"{value:.3f}".replace("0.", ".", 1)
    weight = "bold" if bold else "normal"
    axes.text(
        x + 0.5,
        y + 0.5,
        text,
        ha="center",
        va="center",
        fontsize=8,
        weight=weight,
        color="black" if light > 0.5 else "white",
    )
