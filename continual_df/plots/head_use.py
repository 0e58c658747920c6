"""How often each head is used, by images of known and of novel classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from continual_df.evaluation.open_world_results import SMALL
from continual_df.plots.style import COLOURS, GREY, style

BAR = 0.19
"""Width of a bar in inches."""

NAMED = 60
"""Up to so many bars, every one has its head written below."""


def head_use(row: dict[str, Any], title: str) -> Figure:
    """Return a bar for each head of a known class, in the order of their ids, and for each cluster in use, most used first.

    A bar's height is the number of test images that fall in the head, those of known classes below, of novel ones on top. The
    line is at 1 % of all test images; clusters in which no image falls are counted in the title only.

    Args:
        row: One of ``rows`` of ``open_world`` in results.json, with at least one image.
        title: Name of the run.
    """
    known = row["known_heads"]
    count_K2 = np.zeros((row["num_heads"], 2), dtype=np.int64)
    for entry in row["classes"]:
        for head, images in entry["heads"].items():
            count_K2[int(head), int(not entry["known"])] += images
    total_K = count_K2.sum(axis=1)
    clusters = [k for k in np.argsort(-total_K, kind="stable").tolist() if k >= len(known) and total_K[k]]
    order = [*range(len(known)), *clusters]
    place = np.array([*range(len(known)), *(len(known) + 1 + i for i in range(len(clusters)))])
    with style():
        figure = Figure(figsize=(max(len(order) * BAR + 1.2, 5.6), 3.4))
        axes = figure.subplots()
        axes.bar(place, count_K2[order, 0], 0.8, color=COLOURS[0], label="images of known classes")
        axes.bar(place, count_K2[order, 1], 0.8, count_K2[order, 0], color=COLOURS[1], label="images of novel classes")
        axes.axhline(SMALL * row["num_images"], color=GREY, linewidth=0.8, linestyle="--", label="1 % of the images")
        axes.grid(False, axis="x")
        axes.set_xlim(-0.8, float(place[-1]) + 0.8)
        axes.set_ylabel("test images")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        names = [*known, *map(str, clusters)] if len(order) <= NAMED else []
        axes.set_xticks(place if names else [], names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_xlabel("heads of known classes, then clusters")
        figure.suptitle(
            f"{title}, after task {row['row']}\n{row['num_classes']} classes in {row['num_used']} of {row['num_heads']} heads "
            f"({row['num_used_1pct']} with at least 1 % of the images)",
            fontsize=10,
        )
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
