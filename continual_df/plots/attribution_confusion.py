"""Where the test images of every class fall: the confusion of classes and heads, columns in the order of the matching."""

from __future__ import annotations

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from continual_df.evaluation.open_world_results import head_name
from continual_df.plots.style import COLOURS, GREY, style

CELL = 0.32
"""Side of a cell in inches."""

GAP = 0.4
"""Between known classes, novel ones and heads that match no class, in cells."""

OTHERS = 8
"""Heads that match no class and are drawn one by one; the rest share a column."""


def attribution_confusion(row: dict[str, Any], title: str) -> Figure:
    """Return the shares of each class's test images by head, in percent; those below 0.5 are not written.

    Known classes are above, novel ones below. Heads and classes are matched one to one so that most images are right: the heads
    stand in the order of the rows, and a frame marks each pair. Heads that match no class follow, most used first. Heads of
    known classes bear their name, clusters their number.

    Args:
        row: One of ``rows`` of ``open_world`` in results.json, with at least one image.
        title: Name of the run.
    """
    classes = row["classes"]
    group = {str(entry["match"]): int(not entry["known"]) for entry in classes if entry["match"] is not None}
    order = [str(head) for head in row["head_order"]]
    last = len(group) + OTHERS
    last += len(order) == last + 1  # a column for one head had better be that head's
    columns = [([head], group.get(head, 2)) for head in order[:last]]
    if order[last:]:
        columns.append((order[last:], 2))
    left = [column + GAP * place for column, (_, place) in enumerate(columns)]
    top = [index + GAP * (not entry["known"]) for index, entry in enumerate(classes)]
    with style():
        figure = Figure(figsize=(max((left[-1] + 1) * CELL + 2.2, 5.6), (top[-1] + 1) * CELL + 1.9))
        axes = figure.subplots()
        for y, entry in zip(top, classes, strict=True):
            for x, (heads, _) in zip(left, columns, strict=True):
                share = sum(entry["heads"].get(head, 0) for head in heads) / entry["num_images"]
                _cell(axes, x, y, share, framed=heads == [str(entry["match"])])
        axes.set_xlim(0, left[-1] + 1)
        axes.set_ylim(top[-1] + 1, 0)
        axes.set_aspect("equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        names = [_head_name(row, heads) for heads, _ in columns]
        axes.set_xticks([x + 0.5 for x in left], names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks([y + 0.5 for y in top], [f"{entry['name']} ({entry['num_images']})" for entry in classes])
        for label, entry in zip(axes.get_yticklabels(), classes, strict=True):
            label.set_color(COLOURS[not entry["known"]])
        for label, (heads, _) in zip(axes.get_xticklabels(), columns, strict=True):
            label.set_color(COLOURS[int(heads[0]) >= len(row["known_heads"])] if len(heads) == 1 else GREY)
        axes.set_xlabel("head: of a known class (blue), cluster (orange)\nframed: matched to the class")
        axes.set_ylabel("class (test images): known (blue), novel (orange)")
        figure.suptitle(f"{title}, after task {row['row']}: % of each class by head", fontsize=11)
    return figure


def _cell(axes: Axes, x: float, y: float, share: float, framed: bool) -> None:
    """Draw one cell and its percentage, white on dark and black on light ground."""
    colour = colormaps["Greys"](0.9 * share)
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, edgecolor="#E4E4E4", linewidth=0.6))
    if share >= 0.005:
        ink = "black" if share < 0.55 else "white"
        axes.text(x + 0.5, y + 0.5, f"{100 * share:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
    if framed:
        axes.add_patch(
            Rectangle((x, y), 1, 1, fill=False, edgecolor=COLOURS[2], linewidth=1.6, zorder=3, clip_on=False)
        )


def _head_name(row: dict[str, Any], heads: list[str]) -> str:
    if len(heads) > 1:
        return f"{len(heads)} others"
    return head_name(row, int(heads[0]))
