"""From the folders named on the command line to runs and to groups of runs that differ in their seed only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from continual_df.errors import RunFolderError
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.results import stream_title
from continual_df.evaluation.run_files import is_run
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
    members: dict[tuple[object, ...], list[Path]] = {}
    recipes = {run: read_recipe(run) for run in results}
    for run, result in results.items():
        recipe, tasks = recipes[run], tuple(task["name"] for task in result["tasks"])
        key: tuple[object, ...] = (recipe.method, result["stream"], tasks, recipe.settings)
        while any(recipes[other].seed == recipe.seed for other in members.get(key, [])):
            key = (*key, recipe.seed)
        members.setdefault(key, []).append(run)
    folders = run_names(list(results))
    titles = [(recipes[runs[0]].method, stream_title(results[runs[0]])) for runs in members.values()]
    groups = []
    for runs, (method, stream) in zip(members.values(), titles, strict=True):
        name = method if titles.count((method, stream)) == 1 else f"{method} ({folders[runs[0]]})"
        groups.append(RunGroup(name, stream, [results[run] for run in runs]))
    return groups


def _runs_in(folder: Path) -> list[Path]:
    """Return ``folder`` if it is a run, else the runs below it."""
    if is_run(folder):
        return [folder]
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [run for child in children for run in _runs_in(child)]
