"""What a run was made from, as its ``config.yaml`` says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from continual_df.errors import RunFolderError

_TRAINING = {
    "trainer": (
        "max_epochs",
        "min_epochs",
        "max_steps",
        "min_steps",
        "max_time",
        "precision",
        "limit_train_batches",
        "overfit_batches",
        "accumulate_grad_batches",
        "gradient_clip_val",
        "gradient_clip_algorithm",
        "sync_batchnorm",
        "callbacks",
    ),
    "data": ("image_size", "channels", "augment", "real_domain"),
}
"""Settings beside the model's that change what is learnt from a stream; its images and tasks are in its hash."""

_WHERE_SET = ("second_view", "reveal_unlabelled")
"""Further settings of the data that count where they are set: so recipes of versions that had none stay what they were. The same holds
for a search and for a budget of all tasks."""


@dataclass(frozen=True)
class Recipe:
    """What ``config.yaml`` says of a run.

    Attributes:
        method: ``name`` where the config has one, else the last part of the method's class path.
        seed: ``seed_everything``; None where the config has none.
        settings: How the method was set and trained, as text, without seeds: runs that differ in it are never averaged.
        versions: Packages and Python; empty where unknown.
        commit: The git commit; empty where unknown.
    """

    method: str
    seed: int | None
    settings: str
    versions: str
    commit: str


def read_recipe(run: Path) -> Recipe:
    """Return what the run's ``config.yaml`` says; the folder's name stands in for a method that it does not name.

    Raises:
        RunFolderError: If the file is no YAML.
    """
    path = run / "config.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise RunFolderError(f"{path}: not YAML ({problem}). Restore the file.") from None
    config = config if isinstance(config, dict) else {}
    model = config.get("model") or {}
    class_path = model.get("class_path", "") if isinstance(model, dict) else ""
    method = config.get("name") or str(class_path).rpartition(".")[2] or run.absolute().name
    seed = config.get("seed_everything")
    versions, commit = _made_with(text)
    return Recipe(str(method), seed if isinstance(seed, int) else None, _settings(config), versions, commit)


def _settings(config: dict[str, Any]) -> str:
    """Return as text what of ``config`` decides what a run learns from its stream."""
    kept = {"model": config.get("model") or {}, "max_flops": config.get("max_flops")}
    for part, keys in _TRAINING.items():
        found = config.get(part)
        found = found if isinstance(found, dict) else {}
        values = found.get("init_args") if "class_path" in found else found
        kept[part] = {key: values[key] for key in keys if values and key in values}
    data = config.get("data")
    data = data if isinstance(data, dict) else {}
    data = data.get("init_args") or {} if "class_path" in data else data
    search = config.get("search")
    more = {key: data[key] for key in _WHERE_SET if data.get(key)} | {
        "max_flops_total": config.get("max_flops_total"),
        "search": search if isinstance(search, dict) and search.get("trials") else None,
    }
    kept |= {key: value for key, value in more.items() if value}
    return json.dumps(_without_seeds(kept), sort_keys=True, default=str)


def _without_seeds(settings: Any) -> Any:  # noqa: ANN401 - any nesting of what YAML can hold
    """Return ``settings`` without any key ``seed``, such as a memory's, which follows the run's own, or ``dirpath``."""
    if isinstance(settings, dict):
        return {key: _without_seeds(value) for key, value in settings.items() if key not in ("seed", "dirpath")}
    return [_without_seeds(value) for value in settings] if isinstance(settings, list) else settings


def _made_with(text: str) -> tuple[str, str]:
    """Return the versions and the git commit in the head of ``config.yaml``."""
    packages = re.search(r"^# (continual-df .+)$", text, re.MULTILINE)
    python = re.search(r"^# (python \S+), git commit (.+)$", text, re.MULTILINE)
    versions = [found[1] for found in (packages, python) if found]
    return ", ".join(versions), python[2] if python else ""
