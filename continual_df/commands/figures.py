"""The figures of a set of runs, drawn from their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from continual_df.commands.cost_figures import draw_cost_figures
from continual_df.commands.run_folders import group_runs, run_names
from continual_df.errors import UnreadableImageError
from continual_df.evaluation.embedding_files import FOLDER, embedding_files, read_embedding
from continual_df.evaluation.open_world_results import attributed_heads
from continual_df.evaluation.pair_curves import read_pair_curves
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.results import stream_title
from continual_df.evaluation.run_files import image_root, read_run
from continual_df.plots.attribution_confusion import attribution_confusion
from continual_df.plots.average_curve import average_curve
from continual_df.plots.class_lives import class_lives
from continual_df.plots.cluster_map import cluster_map
from continual_df.plots.contact_sheet import contact_sheet
from continual_df.plots.forgetting_curves import forgetting_curves
from continual_df.plots.head_use import head_use
from continual_df.plots.latent_space import latent_space
from continual_df.plots.matrix_heatmap import matrix_heatmap
from continual_df.plots.memory_map import memory_map
from continual_df.plots.pair_curves import PairGroup, pair_curves
from continual_df.plots.stream_examples import stream_examples
from continual_df.plots.style import save_figure


def draw_figures(
    results: dict[Path, dict[str, Any]],
    out: Path,
    metric: str = "auc",
    images: bool = True,
    reference: str | None = None,
    suffix: int | None = None,
) -> tuple[list[Path], list[str]]:
    """Draw all figures of some runs into ``out`` as PNG and SVG; those of features where 'continual-df embed' has been.

    Args:
        results: Contents of results.json by run folder.
        out: Folder of the figures, made where missing.
        metric: Key of the matrices in results.json.
        images: Whether to draw the contact sheets of the streams, which read the images themselves.
        reference: Method against which others are drawn; see `draw_cost_figures`.
        suffix: Number of the last tasks over which errors are averaged; default all.

    Returns:
        The files written, and one sentence on every contact sheet that could not be drawn, every embedding that falls short
        of its run, and whatever the figures of costs leave out.

    Raises:
        ConfigError: If no method has the name ``reference``.
    """
    groups = group_runs(results)
    paths = []
    for draw in (forgetting_curves, average_curve, matrix_heatmap):
        paths += save_figure(draw(groups, metric), out, f"{draw.__name__}_{metric}")
    paired = [PairGroup(group, [read_pair_curves(run) for run in group.folders]) for group in groups]
    if paired := [group for group in paired if all(len(curves) for curves in group.curves)]:
        paths += save_figure(pair_curves(paired), out, "pair_curves")
    drawn, problems = draw_cost_figures(groups, out, metric, reference, suffix)
    paths += drawn
    for stem, run in _streams(results).items() if images else ():
        stream = json.loads((run / "stream.json").read_text(encoding="utf-8"))
        frame, membership = pd.read_parquet(run / "frames.parquet"), pd.read_parquet(run / "membership.parquet")
        try:
            rows = stream_examples(frame, membership, stream, image_root(run))
        except UnreadableImageError as error:
            problems.append(f"No contact sheet of {run}: an image cannot be read. {error}")
        else:
            paths += save_figure(contact_sheet(rows, stream_title(results[run])), out, stem)
    for run, name in run_names(list(results)).items():
        title = read_recipe(run).method + (f" ({name})" if len(results) > 1 else "")
        ending = f"_{name.replace(os.sep, '-')}" if len(results) > 1 else ""
        paths += _draw_open_world(results[run], title, out, ending)
        embedded, measured = list(embedding_files(run / FOLDER)), max(results[run]["measured"])
        if embedded and embedded != list(range(1, measured + 1)):
            problems.append(
                f"No figures of the features of {run}: they were written after tasks {embedded}, and it has finished {measured}. "
                f"Run 'continual-df embed {run}' again."
            )
        elif embedded:
            paths += _draw_features(run, results[run], embedded, title, out, ending)
    return paths, problems


def _draw_open_world(result: dict[str, Any], title: str, out: Path, ending: str) -> list[Path]:
    """Draw how a run attributes its images after the last task, and the lives of its classes over several."""
    section, tasks, paths = result.get("open_world"), result["tasks"], []
    if section and section["rows"][-1]["num_images"]:
        for draw in (attribution_confusion, head_use):
            paths += save_figure(draw(section["rows"][-1], title), out, f"{draw.__name__}{ending}")
    if section and section["lives"] and len(tasks) > 1:
        paths += save_figure(class_lives(section, tasks, title), out, f"class_lives{ending}")
    return paths


def _draw_features(
    run: Path, result: dict[str, Any], numbers: list[int], title: str, out: Path, ending: str
) -> list[Path]:
    """Draw the features of ``run`` after tasks ``numbers``, what its memory picked, and its clusters, where it has any."""
    embeddings = [read_embedding(run / FOLDER, number) for number in numbers]
    tasks = json.loads((run / "stream.json").read_text(encoding="utf-8"))["tasks"]
    paths = save_figure(latent_space(embeddings, tasks, title), out, f"latent_space{ending}")
    if any(embedding.rows["in_memory"].any() for embedding in embeddings):
        paths += save_figure(memory_map(embeddings, tasks, title), out, f"memory_map{ending}")
    if section := result.get("open_world"):
        rows = embeddings[-1].rows
        place = (
            rows[rows["split"] == "test"]
            .reset_index(names="place")
            .drop_duplicates("sample")
            .set_index("sample")["place"]
        )
        images = attributed_heads(read_run(run), numbers[-1]).join(place, how="inner")
        if len(images) > 1:
            feature_ND = embeddings[-1].feature_ND[images["place"]]
            paths += save_figure(
                cluster_map(feature_ND, images, section["rows"][-1], title), out, f"cluster_map{ending}"
            )
    return paths


def _streams(results: dict[Path, dict[str, Any]]) -> dict[str, Path]:
    """Return the name of the sheet and the first run of every stream."""
    first: dict[tuple[str, ...], Path] = {}
    for run, result in results.items():
        first.setdefault((result["stream"], *(task["name"] for task in result["tasks"])), run)
    if len(first) == 1:
        return dict(zip(["contact_sheet"], first.values(), strict=True))
    return {f"contact_sheet_{number}": run for number, run in enumerate(first.values(), start=1)}
