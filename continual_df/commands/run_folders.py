"""From the folders named on the command line to runs and to groups of runs that differ in their seed only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from continual_df.errors import RunFolderError
from continual_df.evaluation.results import evaluate_run
from continual_df.evaluation.run_files import is_run, prediction_files
from continual_df.plots.run_group import RunGroup


@dataclass(frozen=True)
class Recipe:
    """What ``config.yaml`` says of a run.

    Attributes:
        method: ``name`` where the config has one, else the last part of the method's class path.
        seed: ``seed_everything``; None where the config has none.
        model: The method's settings as text, without seeds: runs that differ in them are never averaged.
    """

    method: str
    seed: int | None
    model: str


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


def load_results(run: Path) -> dict[str, Any]:
    """Return ``results.json`` if it covers all predictions of ``run``, else evaluate the run anew.

    Raises:
        RunFolderError: If the run cannot be evaluated.
    """
    path = run / "results.json"
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunFolderError(f"{path}: not JSON ({error}). Run 'continual-df evaluate {run}'.") from None
        if isinstance(stored, dict) and stored.get("measured") == list(prediction_files(run)):
            return stored
    return evaluate_run(run)


def read_recipe(run: Path) -> Recipe:
    """Return what the run's ``config.yaml`` says; the folder's name stands in for a method that it does not name."""
    path = run / "config.yaml"
    config: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False) if path.is_file() else {}
    config = config if isinstance(config, dict) else {}
    model = config.get("model") or {}
    class_path = model.get("class_path", "") if isinstance(model, dict) else ""
    method = config.get("name") or str(class_path).rpartition(".")[2] or run.absolute().name
    seed = config.get("seed_everything")
    settings = json.dumps(_without_seeds(model), sort_keys=True, default=str)
    return Recipe(str(method), seed if isinstance(seed, int) else None, settings)


def group_runs(results: dict[Path, dict[str, Any]]) -> list[RunGroup]:
    """Return the runs in groups of one recipe and stream that differ in their seed, in order of first appearance.

    Two runs of one seed are never averaged: the second begins a group of its own. Groups that would share a name carry
    the name of their first run's folder too.
    """
    members: dict[tuple[object, ...], list[Path]] = {}
    recipes = {run: read_recipe(run) for run in results}
    for run, result in results.items():
        recipe, tasks = recipes[run], tuple(task["name"] for task in result["tasks"])
        key: tuple[object, ...] = (recipe.method, result["stream"], tasks, recipe.model)
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


def stream_title(result: dict[str, Any]) -> str:
    """Return the name of the stream, or its first and last task where it has none."""
    names = [str(task["name"]) for task in result["tasks"]]
    return str(result["stream"]) or (f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0])


def _without_seeds(settings: Any) -> Any:  # noqa: ANN401 - any nesting of what YAML can hold
    """Return ``settings`` without any key ``seed``, such as a memory's, which follows the run's own."""
    if isinstance(settings, dict):
        return {key: _without_seeds(value) for key, value in settings.items() if key != "seed"}
    return [_without_seeds(value) for value in settings] if isinstance(settings, list) else settings


def _runs_in(folder: Path) -> list[Path]:
    """Return ``folder`` if it is a run, else the runs below it."""
    if is_run(folder):
        return [folder]
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [run for child in children for run in _runs_in(child)]
