"""How all figures look: colours, lines, direct labels, and files that come out the same every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from scipy.optimize import isotonic_regression

from continual_df.files import renamed

# Okabe and Ito's colour-blind-safe palette (2008, jfly.uni-koeln.de/color), without its yellow: too pale on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
DASHES: tuple[object, ...] = ("-", (0, (6, 2)), (0, (4, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 1)))
GREY = "#666666"

LABELS = {
    "auc": "AUC",
    "ap": "AP",
    "eer": "EER",
    "acc": "accuracy at 0.5",
    "acc_val": "accuracy, threshold from validation",
    "racc": "R.Acc at 0.5",
    "facc": "F.Acc at 0.5",
    "auc_video": "AUC, video",
    "ap_video": "AP, video",
    "eer_video": "EER, video",
    "acc_video": "accuracy at 0.5, video",
    "top1": "top-1 accuracy",
}
CHANCE = {"auc": 0.5, "eer": 0.5, "auc_video": 0.5, "eer_video": 0.5}

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "continual_df",  # element ids must not depend on the process
}


def style() -> AbstractContextManager[None]:
    """Return the context in which figures are made and saved."""
    return rc_context(SETTINGS)


def line_style(index: int) -> dict[str, Any]:
    """Return colour, dashes and marker of line ``index``; any of the three tells the first lines apart."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def label_ends(
    axes: Axes, x: float, ends: Sequence[float], names: Sequence[str], colours: Sequence[str], height: float
) -> None:
    """Write each line's name right of its end at ``x``, moved apart where they would overlap.

    The names are placed with the least squared movement that keeps them one line apart (isotonic regression).

    Args:
        axes: Where; its limits must be final.
        x: Right end of the lines.
        ends: Height of each line's end; NaN for lines without one, which get no name.
        names: Text of each line.
        colours: Colour of each line.
        height: Height of the axes in inches, to turn points into data units.
    """
    log = axes.get_yscale() == "log"
    low, high = np.log10(axes.get_ylim()) if log else axes.get_ylim()
    left, right = axes.get_xlim()
    gap = 9.6 / 72 / height * (high - low)
    order = [int(i) for i in np.argsort(ends, kind="stable") if not np.isnan(ends[i])]
    if not order:
        return
    wanted = np.array([np.log10(ends[i]) if log else ends[i] for i in order])
    steps = gap * np.arange(len(order))
    placed = isotonic_regression(wanted - steps).x + steps
    placed -= max(0.0, placed[-1] - high)
    placed = 10**placed if log else placed
    near, far = x + 0.03 * (right - left), x + 0.08 * (right - left)
    for i, y in zip(order, placed, strict=True):
        axes.plot([x, near, far], [ends[i], ends[i], y], color=colours[i], linewidth=0.6, alpha=0.7, clip_on=False)
        axes.text(far + 0.01 * (right - left), y, names[i], color=colours[i], va="center", fontsize=8, clip_on=False)


def short_name(name: str, letters: int = 24) -> str:
    """Return ``name``, or its beginning with an ellipsis: names of joined tasks have no end."""
    return name if len(name) <= letters else name[: letters - 1].rstrip("+_ ") + "\N{HORIZONTAL ELLIPSIS}"


def numbered(tasks: Sequence[str], letters: int = 24) -> list[str]:
    """Return the tasks' names as axes and lines bear them: short, behind their number."""
    return [f"{number} {short_name(name, letters)}" for number, name in enumerate(tasks, start=1)]


def flops_axis(axis: Axis) -> None:
    """Write FLOPs on ``axis``, whose limits must be final, with prefixes, such as ``20 T``; on a log axis, few of them."""
    if axis.get_scale() == "log":
        low, high = np.log10(axis.get_view_interval())
        steps = (1,) if high - low > 3 else (1, 2, 5) if high - low > 1 else (1, 1.5, 2, 3, 5, 7)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(EngFormatter(sep="\N{NARROW NO-BREAK SPACE}"))


def panel_grid(num: int) -> tuple[int, int]:
    """Return rows and columns for ``num`` panels: at most three side by side, and four as two by two."""
    columns = 2 if num == 4 else min(num, 3)
    return math.ceil(num / columns), columns


def chance_line(axes: Axes, metric: str) -> None:
    """Draw the value that guessing reaches, for metrics that have one whatever the class balance."""
    if metric in CHANCE:
        axes.axhline(CHANCE[metric], color=GREY, linewidth=0.8, zorder=1)


def limits(values: np.ndarray, chance: float | None) -> tuple[float, float]:
    """Return y limits that hold all of ``values`` and the chance level, on twentieths within about [0, 1]."""
    measured = values[~np.isnan(values)]
    inside = np.r_[measured, [] if chance is None else [chance]]
    if not len(inside):
        return 0.0, 1.0
    low, high = np.floor(inside.min() * 20 - 0.4) / 20, np.ceil(inside.max() * 20 + 0.4) / 20
    return max(float(low), -0.03), min(float(high), 1.03)


def save_figure(figure: Figure, folder: Path, stem: str) -> list[Path]:
    """Write ``stem``.png and ``stem``.svg into ``folder``, each under a temporary name first, and return the paths."""
    paths = []
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = folder / f"{stem}.{ending}"
        with renamed(path) as partial, style():
            figure.savefig(partial, format=ending, metadata=metadata)
        paths.append(path)
    return paths
