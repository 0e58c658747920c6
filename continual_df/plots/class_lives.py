"""The life of every class along the stream: without a label, discovered, named, remembered or forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from continual_df.plots.style import COLOURS, short_name, style

WIDTH, HEIGHT = 0.95, 0.27
"""Size of a cell in inches."""

FILLS = {
    "held out": "#F3F3F3",
    "unlabelled": "#D2D2D2",
    "discovered": COLOURS[4],
    "named": COLOURS[0],
    "remembered": "#9CC7E3",
    "forgotten": COLOURS[1],
}
MEANINGS = {
    "held out": "held out",
    "unlabelled": "no label, no cluster of its own",
    "discovered": "discovered: a cluster of its own",
    "named": "named",
    "remembered": "remembered",
    "forgotten": "forgotten",
}
WHITE_ON = ("named", "forgotten")
"""States whose fill is dark."""


def class_lives(section: dict[str, Any], tasks: Sequence[dict[str, Any]], title: str) -> Figure:
    """Return a row for every class and a column for every task, coloured by the class's state after it.

    The number is a share of the class's test images: without a name, that in its largest cluster; with one, that attributed to it.
    At the right is the discovery lag in tasks, a dash for classes that came without a label and were never discovered.

    Args:
        section: ``open_world`` of results.json.
        tasks: ``tasks`` of results.json.
        title: Name of the run.
    """
    lives: dict[str, dict[str, Any]] = section["lives"]
    with style():
        figure = Figure(figsize=(max((len(tasks) + 0.6) * WIDTH + 2, 6.6), len(lives) * HEIGHT + 1.9))
        axes = figure.subplots()
        for y, life in enumerate(lives.values()):
            for number, state in life["states"].items():
                _cell(axes, int(number) - 1, y, state, life["values"][number])
            if life["unlabelled"] is not None:
                lag = "\N{EN DASH}" if life["lag"] is None else f"{life['lag']:.0f}"
                axes.text(len(tasks) + 0.3, y + 0.5, lag, ha="center", va="center", fontsize=8)
        axes.set_xlim(0, len(tasks) + 0.6)
        axes.set_ylim(len(lives), 0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        names = [f"{number} {short_name(task['name'], 18)}" for number, task in enumerate(tasks, start=1)]
        centres = [*(x + 0.5 for x in range(len(tasks))), len(tasks) + 0.3]
        axes.set_xticks(centres, [*names, "lag"], rotation=30, ha="right", rotation_mode="anchor")
        axes.set_yticks([y + 0.5 for y in range(len(lives))], list(lives))
        axes.set_xlabel("after task")
        figure.suptitle(f"{title}: the life of every class", fontsize=11)
        present = {state for life in lives.values() for state in life["states"].values()}
        handles = [Patch(facecolor=FILLS[state], label=MEANINGS[state]) for state in FILLS if state in present]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _cell(axes: Axes, x: int, y: int, state: str, value: float) -> None:
    axes.add_patch(Rectangle((x, y + 0.06), 1, 0.88, facecolor=FILLS[state], edgecolor="white", linewidth=1))
    text = f"{value:.2f}".removeprefix("0")
    ink, weight = ("white", "bold") if state in WHITE_ON else ("black", "normal")
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=7.5, color=ink, weight=weight)
