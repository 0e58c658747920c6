"""Test images on one plane of the feature space, by the class that they are of and by the head in which they fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from continual_df.evaluation.latent_geometry import principal_plane
from continual_df.plots.style import COLOURS, GREY, MARKERS, style

PANEL = 4.2
"""Side of a panel in inches."""

OTHER: dict[str, Any] = {"marker": "x", "color": GREY}
"""Look of images in a head that matches no class."""


def cluster_map(feature_ND: NDArray[np.floating], images: pd.DataFrame, row: dict[str, Any], title: str) -> Figure:
    """Return two panels with the same images, on the plane of the first two principal components of their features.

    On the left an image has the look of its class, on the right that of the class with which its head is matched, as in the
    figure of the confusion: where both agree, it is attributed rightly. Known classes are filled, novel ones rings.

    Args:
        feature_ND: Features of N >= 2 images.
        images: (N) rows with ``class``, a name, and ``head``, in the order of the features.
        row: One of ``rows`` of ``open_world`` in results.json.
        title: Name of the run.
    """
    plane = principal_plane(feature_ND)
    points = images.assign(**dict(zip("xy", plane.points(feature_ND).T, strict=True)))
    looks = {entry["name"]: _look(index, entry["known"]) for index, entry in enumerate(row["classes"])}
    of_head = {entry["match"]: entry["name"] for entry in row["classes"] if entry["match"] is not None}
    fallen = points["head"].map(of_head)
    with style():
        figure = Figure(figsize=(2 * PANEL + 0.8, PANEL + 1.4))
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        _scatter(left, points, points["class"], looks)
        _scatter(right, points, fallen, looks)
        left.set_title("by class")
        right.set_title("by the class of the head")
        for axes in (left, right):
            axes.set_xlabel(f"first component ({plane.share_2[0]:.0%} of variance)")
        left.set_ylabel(f"second component ({plane.share_2[1]:.0%})")
        figure.suptitle(f"{title}: where images lie, and where they fall", fontsize=11)
        handles = [Line2D([], [], linestyle="none", markersize=5, label=name, **look) for name, look in looks.items()]
        if fallen.isna().any():
            handles.append(Line2D([], [], linestyle="none", markersize=5, label="in a head of no class", **OTHER))
        figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return figure


def _look(index: int, known: bool) -> dict[str, Any]:
    """Return colour and marker of class ``index``, as lines take them; colours repeat after markers do not."""
    look = {"marker": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)]}
    return look if known else {**look, "markerfacecolor": "none"}


def _scatter(axes: Axes, points: pd.DataFrame, names: pd.Series[Any], looks: dict[str, dict[str, Any]]) -> None:
    """Draw the images of each name in its look, those without a name first and as `OTHER`."""
    drawn: list[tuple[pd.Series[Any], dict[str, Any]]] = [(names.isna(), OTHER)]
    drawn += [(names == name, look) for name, look in looks.items()]
    for own, look in drawn:
        axes.plot(
            points["x"][own], points["y"][own], linestyle="none", markersize=3.2, markeredgewidth=0.7, alpha=0.7, **look
        )
