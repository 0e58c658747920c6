"""The latent space after each task, seen on one plane: where the domains lie, and which way the heads call fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from continual_df.evaluation.embedding_files import Embedding
from continual_df.evaluation.latent_geometry import principal_plane
from continual_df.plots.style import COLOURS, GREY, MARKERS, panel_grid, style

WIDTH = 3.1
"""Width of a panel's axes in inches."""

PALE = "#D9D9D9"
"""Of images whose task has not come yet."""

ARROW = 0.4
"""Length of a direction that lies in the plane, as a share of the axes."""


def latent_space(embeddings: Sequence[Embedding], tasks: Sequence[dict[str, Any]], title: str) -> Figure:
    """Return one panel a task with the features of images that were not trained on.

    The plane is that of the first two principal components after the last task, the same in all panels. Fakes are filled,
    and numbered by their task at their median; reals are rings, grey where several tasks share them; images of later tasks
    are pale. An arrow from the mean of the images so far is the unit normal of a head's decision plane, towards fake, as
    seen on this plane: the shorter, the more of it points out of the plane.

    Args:
        embeddings: Features after each task, in order.
        tasks: Those of ``stream.json``.
        title: Name of the run.
    """
    frames = [_shown(embedding, tasks) for embedding in embeddings]
    plane = principal_plane(embeddings[-1].feature_ND[frames[-1].index])
    for embedding, frame in zip(embeddings, frames, strict=True):
        frame[["x", "y"]] = plane.points(embedding.feature_ND[frame.index])
    limits = _limits(pd.concat(frames)[["x", "y"]].to_numpy())
    rows, columns = panel_grid(len(embeddings))
    last = embeddings[-1].number
    height = WIDTH * float(np.ptp(limits[1]) / np.ptp(limits[0]))
    with style():
        figure = Figure(figsize=(max(columns * (WIDTH + 0.2) + 0.5, 4.6), rows * (height + 0.6) + 1.1))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, embedding, frame in zip(grid.flat, embeddings, frames, strict=False):
            axes.set_xlim(limits[0])
            axes.set_ylim(limits[1])
            axes.set_aspect("equal")  # or the angles of the arrows would be those of no plane
            _panel(axes, frame, embedding.number, tasks)
            _arrows(axes, frame, plane.directions(embedding.direction_HD), embedding.number)
        for axes in grid.flat[len(embeddings) :]:
            axes.remove()
        for axes in grid.flat[max(0, len(embeddings) - columns) : len(embeddings)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(f"first component after task {last} ({plane.share_2[0]:.0%})")
        for axes in grid[:, 0]:
            axes.set_ylabel(f"second component ({plane.share_2[1]:.0%} of variance)")
        figure.suptitle(f"{title}: latent space after each task", fontsize=11)
        handles = _legend(embeddings, frames, tasks)
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, columns + 1), frameon=False)
    return figure


def _shown(embedding: Embedding, tasks: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows to draw, each image once, by position in ``embedding``; ``shared``: reals of several tasks."""
    rows = embedding.rows[(embedding.rows["split"] != "train") & (embedding.rows["task"] >= 0)].reset_index()
    real_domain = pd.Series([task["real_domain"] for task in tasks])
    domain = rows["task"].map(real_domain)
    several = rows.assign(domain=domain).groupby("domain")["task"].transform("nunique") > 1
    again = rows.groupby("sample")["task"].transform("nunique") > 1
    rows["shared"] = (rows["label"] == 0) & (several | again)
    return rows.drop_duplicates("sample").set_index("index")


def _limits(point_N2: np.ndarray) -> np.ndarray:
    """Return ((left, right), (bottom, top)), between half as high as wide and square.

    They hold all but the outermost thousandth at each side, with a margin.
    """
    low, high = np.quantile(point_N2, [0.001, 0.999], axis=0)
    centre, size = (low + high) / 2, 1.12 * np.maximum(high - low, 1e-6)
    size = np.maximum(size, [size[1], size[0] / 2])
    return np.stack([centre - size / 2, centre + size / 2], axis=1)


def _panel(axes: Axes, frame: pd.DataFrame, number: int, tasks: Sequence[dict[str, Any]]) -> None:
    axes.set_title(f"after {number} {tasks[number - 1]['name']}")
    later = frame["task"] >= number
    axes.scatter(frame["x"][later], frame["y"][later], s=4, color=PALE, linewidths=0, zorder=0.9)
    known = frame[~later]
    shared = known[known["shared"]]
    axes.scatter(shared["x"], shared["y"], s=9, facecolors="none", edgecolors=GREY, linewidths=0.5, alpha=0.7)
    for task in range(number):
        own = known[(known["task"] == task) & ~known["shared"]]
        fake, real = own[own["label"] == 1], own[own["label"] == 0]
        marker, colour = _look(task).values()
        axes.scatter(
            real["x"], real["y"], s=11, marker=marker, facecolors="none", edgecolors=colour, linewidths=0.6, alpha=0.7
        )
        axes.scatter(fake["x"], fake["y"], s=9, marker=marker, color=colour, linewidths=0, alpha=0.7, zorder=2.5)
    for task in range(number):
        fake = known[(known["task"] == task) & (known["label"] == 1)]
        axes.text(
            fake["x"].median(),
            fake["y"].median(),
            str(task + 1),
            color=_look(task)["color"],
            fontsize=11,
            weight="bold",
            ha="center",
            va="center",
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )


def _arrows(axes: Axes, frame: pd.DataFrame, direction_H2: np.ndarray, number: int) -> None:
    """Draw the heads; where there is one a task, in its colour."""
    known = frame[frame["task"] < number]
    x, y = known["x"].mean(), known["y"].mean()
    length = ARROW * np.ptp(axes.get_ylim())
    a_task = len(direction_H2) == number > 1
    for head, (dx, dy) in enumerate(direction_H2 * length):
        axes.annotate(
            "",
            (x + dx, y + dy),
            (x, y),
            arrowprops={
                "arrowstyle": "-|>,head_width=0.22,head_length=0.45",
                "color": COLOURS[head % len(COLOURS)] if a_task else "black",
                "linewidth": 1.6,
                "shrinkA": 0,
                "shrinkB": 0,
                "path_effects": [withStroke(linewidth=3.2, foreground="white")],
            },
            zorder=4,
        )


def _legend(
    embeddings: Sequence[Embedding], frames: Sequence[pd.DataFrame], tasks: Sequence[dict[str, Any]]
) -> list[Line2D]:
    """Return what is drawn, and no more."""
    everything = pd.concat(frames)
    real = everything[everything["label"] == 0]
    ring: dict[str, Any] = {"linestyle": "none", "markersize": 5, "markerfacecolor": "none", "markeredgewidth": 0.8}
    handles = [
        Line2D([], [], linestyle="none", markersize=5, label=f"{task + 1} {tasks[task]['name']}", **_look(task))
        for task in range(embeddings[-1].number)
    ]
    if not real["shared"].all():
        handles.append(Line2D([], [], color="black", marker="o", label="real, in the colour of its task", **ring))
    if real["shared"].any():
        handles.append(Line2D([], [], color=GREY, marker="o", label="real, of several tasks", **ring))
    if any((frame["task"] >= embedding.number).any() for frame, embedding in zip(frames, embeddings, strict=True)):
        handles.append(Line2D([], [], color=PALE, marker="o", linestyle="none", markersize=4, label="of a later task"))
    if any(len(embedding.direction_HD) for embedding in embeddings):
        arrow: dict[str, Any] = {
            "marker": r"$\rightarrow$",
            "markersize": 14,
            "markeredgewidth": 0,
            "linestyle": "none",
        }
        handles.append(Line2D([], [], color="black", label="towards fake, as a head decides", **arrow))
    return handles


def _look(task: int) -> dict[str, Any]:
    return {"marker": MARKERS[task % len(MARKERS)], "color": COLOURS[task % len(COLOURS)]}
