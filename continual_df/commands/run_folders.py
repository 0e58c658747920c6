"""From the folders named on the command line to runs and to groups of runs that differ in their seed only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from continual_df.errors import RunFolderError
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.results import stream_title
from continual_df.evaluation.run_files import is_run
from continual_df.evaluation.seed_groups import group_by_seed
from continual_df.plots.run_group import RunGroup


def find_runs(folders: list[Path]) -> list[Path]:
    """Return the runs among ``folders`` and inside those that are none, in order, each once.

    Raises:
        RunFolderError: If a folder does not exist, or neither is a run nor holds one.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RunFolderError(f"'{folder}' is not a folder. Give the folder of a run, or one that holds runs.")
        inside = _runs_in(folder)
        if not inside:
            raise RunFolderError(
                f"'{folder}' is no run folder and holds none (a run has a stream.json). Give a folder that 'run' wrote."
            )
        found.update(dict.fromkeys(inside))
    return list(found)


def run_names(runs: list[Path]) -> dict[Path, str]:
    """Return for each run the shortest end of its path that tells it from the others."""
    names = {}
    for run in runs:
        parts = run.absolute().parts
        others = [other.absolute().parts for other in runs if other != run]
        size = next(n for n in range(1, len(parts) + 1) if all(other[-n:] != parts[-n:] for other in others))
        names[run] = str(Path(*parts[-size:]))
    return names


def group_runs(results: dict[Path, dict[str, Any]]) -> list[RunGroup]:
    """Return the runs in groups of one recipe and stream that differ in their seed, in order of first appearance.

    Two runs of one seed are never averaged: the second begins a group of its own. Groups that would share a name carry
    the name of their first run's folder too.
    """
    runs, recipes = list(results), [read_recipe(run) for run in results]
    tasks = [tuple(task["name"] for task in result["tasks"]) for result in results.values()]
    streams = [(result["stream"], names) for result, names in zip(results.values(), tasks, strict=True)]
    keys = [(recipe.method, recipe.settings, stream) for recipe, stream in zip(recipes, streams, strict=True)]
    members = group_by_seed(keys, [recipe.seed for recipe in recipes])
    folders = run_names(runs)
    titles = [(recipes[first].method, stream_title(results[runs[first]])) for first, *_ in members]
    groups = []
    for positions, (method, stream) in zip(members, titles, strict=True):
        name = method if titles.count((method, stream)) == 1 else f"{method} ({folders[runs[positions[0]]]})"
        groups.append(RunGroup(name, stream, [results[runs[at]] for at in positions], [runs[at] for at in positions]))
    return groups


def _runs_in(folder: Path) -> list[Path]:
    """Return ``folder`` if it is a run, else the runs below it."""
    if is_run(folder):
        return [folder]
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [run for child in children for run in _runs_in(child)]
