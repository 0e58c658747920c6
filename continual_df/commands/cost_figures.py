"""The figures of what runs have paid, drawn from their files."""

from __future__ import annotations

from pathlib import Path

from continual_df.errors import ConfigError
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.run_costs import read_costs
from continual_df.evaluation.validation_curves import read_validation_curves
from continual_df.evaluation.weight_sources import read_weight_sources
from continual_df.plots.cost_group import CostGroup, by_stream, reference_of
from continual_df.plots.error_against_flops import error_against_flops
from continual_df.plots.error_by_task import error_by_task
from continual_df.plots.flops_by_phase import flops_by_phase
from continual_df.plots.learning_time import learning_time
from continual_df.plots.regret_curves import regret_curves
from continual_df.plots.run_group import RunGroup
from continual_df.plots.source_graph import source_graph
from continual_df.plots.style import save_figure


def draw_cost_figures(
    groups: list[RunGroup], out: Path, metric: str, reference: str | None = None, suffix: int | None = None
) -> tuple[list[Path], list[str]]:
    """Draw what runs have paid into ``out``: by phase, where weights came from, and on streams with several methods error against FLOPs.

    With a ``reference``: regret, errors by task and times to learn on every stream that has it beside another method.

    Args:
        groups: Methods with the folders of their runs.
        out: Folder of the figures.
        metric: Key of the matrices in results.json whose shortfall from 1 is the error.
        reference: Name of a method.
        suffix: Number of the last tasks over which errors are averaged.

    Returns:
        The files written, and one sentence on whatever is left out.

    Raises:
        ConfigError: If no method has the name ``reference``.
        RunFolderError: If a file is broken.
    """
    if reference is not None and reference not in {group.name for group in groups}:
        names = dict.fromkeys(group.name for group in groups)
        raise ConfigError(f"--reference '{reference}' is not among the methods. Use one of {', '.join(names)}.")
    kept = [group for group in groups if all((folder / "compute.json").is_file() for folder in group.folders)]
    problems = [
        f"No figures of costs of {group.name}: a run has no compute.json." for group in groups if group not in kept
    ]
    paid = [_read(group) for group in kept]
    streams = by_stream(paid)
    figures = {"flops_by_phase": flops_by_phase(paid)} if paid else {}
    if chosen := [group for group in paid if any(start.accuracy for run in group.sources for start in run.values())]:
        figures["source_graph"] = source_graph(chosen)
    if several := [group for members in streams.values() if len(members) > 1 for group in members]:
        figures[f"error_against_flops_{metric}"] = error_against_flops(several, metric, suffix)
    if reference is not None:
        with_it = {
            stream: members
            for stream, members in streams.items()
            if len(members) > 1 and any(group.name == reference for group in members)
        }
        problems += [
            f"Nothing on '{stream}' is drawn against {reference}: it takes a run of it and one of another method there."
            for stream in streams
            if stream not in with_it
        ]
        if compared := [group for members in with_it.values() for group in members]:
            figures[f"regret_curves_{metric}"] = regret_curves(compared, reference, metric)
            figures[f"error_by_task_{metric}"] = error_by_task(compared, reference, metric)
        timed = [group for members in with_it.values() for group in _with_curves(members, reference)]
        if timed:
            figures["learning_time"] = learning_time(timed, reference)
        if timed != compared:
            lacking = ", ".join(dict.fromkeys(group.name for group in compared if group not in timed))
            problems.append(
                f"No times to learn of {lacking}: a metrics.csv, of theirs or of {reference}, lacks val/auc or compute/flops."
            )
    return [path for stem, figure in figures.items() for path in save_figure(figure, out, stem)], problems


def _read(group: RunGroup) -> CostGroup:
    """Return a group with what its runs have paid."""
    return CostGroup(
        group,
        [read_recipe(folder).seed for folder in group.folders],
        [read_costs(folder) for folder in group.folders],
        [read_validation_curves(folder) for folder in group.folders],
        [read_weight_sources(folder, len(group.tasks)) for folder in group.folders],
    )


def _with_curves(members: list[CostGroup], reference: str) -> list[CostGroup]:
    """Return those on one stream that have validation curves in every run; none if the reference has not, or nobody else."""
    found = [group for group in members if all(group.curves)]
    known = reference_of(members, reference) in found
    return found if known and len(found) > 1 else []
