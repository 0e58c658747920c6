"""Names beside points, where they cover neither another name nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

LETTER, LINE = 4.9, 10.5
"""Width of a letter and height of a line at 8 points, in points."""

NEAR = 7.0
"""From the middle of a point to its name, in points."""

SIDES: tuple[tuple[float, float], ...] = (
    (1, 0),
    (-1, 0),
    (0.7, 0.9),
    (0.7, -0.9),
    (-0.7, 0.9),
    (-0.7, -0.9),
    (0, 1),
    (0, -1),
)
"""Directions in which a name may stand, the best first."""


def label_points(
    axes: Axes,
    points: NDArray[np.float64],
    names: Sequence[str],
    colours: Sequence[str],
    others: NDArray[np.float64],
    line: NDArray[np.float64],
) -> None:
    """Write each point's name beside it: as near as there is room, with a thin line from there where that is far.

    Args:
        axes: Where; limits and layout of the figure must be final.
        points: (N, 2) in data units.
        names: One a point.
        colours: One a name.
        others: (M, 2) more points that no name should cover.
        line: (L, 2) corners of a line that none should cover either.
    """
    scale = 72 / axes.figure.dpi  # points of print a pixel
    place, more, corners = (axes.transData.transform(each) * scale for each in (points, others, line))
    share = np.linspace(0, 1, 50)[:, None]
    along = np.concatenate([a + (b - a) * share for a, b in pairwise(corners)]) if len(corners) > 1 else corners
    taken = [
        Bbox.from_bounds(x - size, y - size, 2 * size, 2 * size)
        for each, size in ((place, 4), (more, 2))
        for x, y in each
    ]
    taken += [Bbox.from_bounds(x, y, 0.1, 0.1) for x, y in along]
    edge = axes.get_window_extent()
    inside = Bbox(np.array(edge.get_points()) * scale)
    for (x, y), point, name, colour in zip(place, points, names, colours, strict=False):
        width = LETTER * len(name)
        found = min(
            (
                (_cost(box, taken, inside) + 3 * step + 0.1 * rank, step, dx, dy, box)
                for step in range(8)
                for rank, (dx, dy) in enumerate(SIDES)
                for box in [_box(x, y, dx, dy, NEAR * (1 + step), width)]
            ),
            key=lambda each: each[0],
        )
        _, step, dx, dy, box = found
        taken.append(box)
        arrow: dict[str, Any] = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.6,
            "alpha": 0.7,
            "shrinkA": 0,
            "shrinkB": 4,
        }
        axes.annotate(
            name,
            point,
            (dx * NEAR * (1 + step), dy * NEAR * (1 + step)),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            ha="left" if dx > 0 else "right" if dx < 0 else "center",
            va="center" if dy == 0 else "bottom" if dy > 0 else "top",
            arrowprops=arrow if step else None,
            zorder=6,
        ).set_in_layout(False)


def _box(x: float, y: float, dx: float, dy: float, away: float, width: float) -> Bbox:
    """Return where a name stands that begins ``away`` from a point."""
    left = x + dx * away - (0 if dx > 0 else width if dx < 0 else width / 2)
    bottom = y + dy * away - (LINE / 2 if dy == 0 else 0 if dy > 0 else LINE)
    return Bbox.from_bounds(left, bottom, width, LINE)


def _cost(box: Bbox, taken: Sequence[Bbox], inside: Bbox) -> float:
    """Return how bad a place is: what it covers, and whether it leaves the axes."""
    covered = sum(10 for other in taken if box.overlaps(other))
    out = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    return float(covered + 100 * out)
