"""What the FLOPs of a run went to, piled up along the stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from continual_df.cost import EVALUATION_PHASES
from continual_df.plots.cost_group import CostGroup
from continual_df.plots.run_group import mean_measured
from continual_df.plots.style import COLOURS, GREY, flops_axis, panel_grid, short_name, style

WIDTH, HEIGHT = 3.0, 2.3
"""Size of a panel's axes in inches."""

FILLS = {
    "pretrain": "#4D4D4D",
    "train": COLOURS[0],
    "replay": COLOURS[5],
    "teacher": COLOURS[2],
    "search": COLOURS[1],
    "selection": COLOURS[4],
}
"""Colours of phases that methods share; others take what is left of the palette, in order of their names."""

EVALUATION = "#E3E3E3"


def flops_by_phase(groups: Sequence[CostGroup]) -> Figure:
    """Return one panel a group: FLOPs so far by phase, stacked, against the tasks learnt; with several seeds their mean.

    What was paid before the stream stands at its beginning, or, where it is more than all the rest, is written in the
    panel and not drawn. Evaluation, which is no part of learning, lies on top in pale grey.

    Args:
        groups: One panel each, all on one scale.
    """
    rows, columns = panel_grid(len(groups))
    fills = _fills(groups)
    with style():
        figure = Figure(figsize=(columns * (WIDTH + 0.3) + 0.7, rows * (HEIGHT + 0.65) + 0.6))
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        several = len({group.runs.stream for group in groups}) > 1
        used: dict[str, None] = {}
        for axes, group in zip(grid.flat, groups, strict=False):
            seeds = f" ({len(group.costs)} seeds)" if len(group.costs) > 1 else ""
            axes.set_title(short_name(group.name + (f" on {group.runs.stream}" if several else ""), 30) + seeds)
            used |= _panel(axes, group, fills)
        for axes in grid.flat[len(groups) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel("FLOPs so far")
            axes.set_ylim(bottom=0)
            flops_axis(axes.yaxis)
        learning = [Patch(facecolor=fills[name], label=name) for name in fills if name in used]
        measuring = [Patch(facecolor=EVALUATION, label="validate, predict (not learning)")]
        handles = [*learning, *(measuring if {*EVALUATION_PHASES} & {*used} else [])]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), 2 + 2 * columns), frameon=False
        )
    return figure


def _panel(axes: Axes, group: CostGroup, fills: dict[str, str]) -> dict[str, None]:
    """Draw one panel and return the phases in it."""
    layers = {name: np.cumsum(mean_measured(group.flops([name]))) for name in fills}
    measuring = np.cumsum(mean_measured(group.flops(EVALUATION_PHASES)))
    rest = sum((np.nanmax(layer) for name, layer in layers.items() if name != "pretrain"), start=np.nanmax(measuring))
    before = float(np.nanmax(layers["pretrain"])) if "pretrain" in layers else 0.0
    if before > rest:
        text = f"+ {_written(before)}FLOPs of pretraining"
        axes.text(0.03, 0.96, text, transform=axes.transAxes, ha="left", va="top", fontsize=8, color=GREY)
        del layers["pretrain"]
    shown = {name: layer for name, layer in layers.items() if np.nanmax(layer) > 0}
    trained = np.arange(len(measuring))
    if np.nanmax(measuring) > 0:
        shown[EVALUATION_PHASES[0]] = measuring
    colours = [fills.get(name, EVALUATION) for name in shown]
    axes.stackplot(trained, *shown.values(), colors=colours, edgecolor="white", linewidth=0.5)
    axes.set_xlim(0, trained[-1])
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.set_xlabel("tasks learnt")
    axes.tick_params(labelleft=True)
    return dict.fromkeys(shown)


def _fills(groups: Sequence[CostGroup]) -> dict[str, str]:
    """Return the colour of every phase of learning, in the order of the pile."""
    names = {name for group in groups for costs in group.costs for name in costs.phases} - {*EVALUATION_PHASES}
    rest = [colour for colour in COLOURS if colour not in FILLS.values()]
    more = {name: rest[at % len(rest)] for at, name in enumerate(sorted(names - {*FILLS}))}
    return {name: colour for name, colour in {**FILLS, **more}.items() if name in names}


def _written(flops: float) -> str:
    """Return FLOPs with three digits and a prefix."""
    return str(EngFormatter(places=2, sep=" ")(flops))
