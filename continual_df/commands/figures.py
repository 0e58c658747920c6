"""The figures of a set of runs, drawn from their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from continual_df.commands.run_folders import group_runs
from continual_df.errors import UnreadableImageError
from continual_df.evaluation.results import stream_title
from continual_df.evaluation.run_files import image_root
from continual_df.plots.average_curve import average_curve
from continual_df.plots.contact_sheet import contact_sheet
from continual_df.plots.forgetting_curves import forgetting_curves
from continual_df.plots.matrix_heatmap import matrix_heatmap
from continual_df.plots.stream_examples import stream_examples
from continual_df.plots.style import save_figure


def draw_figures(
    results: dict[Path, dict[str, Any]], out: Path, metric: str = "auc", images: bool = True
) -> tuple[list[Path], list[str]]:
    """Draw all figures of some runs into ``out`` as PNG and SVG.

    Args:
        results: Contents of results.json by run folder.
        out: Folder of the figures, made where missing.
        metric: Key of the matrices in results.json.
        images: Whether to draw the contact sheets of the streams, which read the images themselves.

    Returns:
        The files written, and one sentence on every contact sheet that could not be drawn.
    """
    groups = group_runs(results)
    paths = []
    for draw in (forgetting_curves, average_curve, matrix_heatmap):
        paths += save_figure(draw(groups, metric), out, f"{draw.__name__}_{metric}")
    problems = []
    for stem, run in _streams(results).items() if images else ():
        stream = json.loads((run / "stream.json").read_text(encoding="utf-8"))
        frame, membership = pd.read_parquet(run / "frames.parquet"), pd.read_parquet(run / "membership.parquet")
        try:
            rows = stream_examples(frame, membership, stream, image_root(run))
        except UnreadableImageError as error:
            problems.append(f"No contact sheet of {run}: an image cannot be read. {error}")
        else:
            paths += save_figure(contact_sheet(rows, stream_title(results[run])), out, stem)
    return paths, problems


def _streams(results: dict[Path, dict[str, Any]]) -> dict[str, Path]:
    """Return the name of the sheet and the first run of every stream."""
    first: dict[tuple[str, ...], Path] = {}
    for run, result in results.items():
        first.setdefault((result["stream"], *(task["name"] for task in result["tasks"])), run)
    if len(first) == 1:
        return dict(zip(["contact_sheet"], first.values(), strict=True))
    return {f"contact_sheet_{number}": run for number, run in enumerate(first.values(), start=1)}
