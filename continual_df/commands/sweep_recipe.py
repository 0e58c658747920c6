"""What a run of a sweep would be made from, and in what a run that is there differs from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from continual_df.commands.recipe import resolved
from continual_df.commands.resume import MAY_CHANGE
from continual_df.commands.stream_cli import StreamCLI, parse_settings
from continual_df.commands.sweep_file import Cell
from continual_df.errors import ConfigError, RunFolderError

UNIMPORTANT = (*MAY_CHANGE, "resume", "run_dir", "trainer.default_root_dir")
"""Settings, or beginnings of their names, that runs of one recipe may differ in."""

PLACES = ("index", "path", "root")
"""Settings of a reader that say where its data lies, which may be elsewhere now; ``stream.json`` knows its images."""

Settings = dict[str, Any]


class _ParsedSettings(StreamCLI):
    """The settings, resolved and of the right types, with nothing built from them."""

    def instantiate_classes(self) -> None:
        """Build nothing: weights may be large."""


def resolved_settings(cell: Cell, environment: Mapping[str, str]) -> Settings:
    """Return the content that ``config.yaml`` of ``cell`` would have.

    Raises:
        ConfigError: If a setting is wrong, naming the run.
    """
    try:
        with _added(environment):
            settings: Settings = yaml.safe_load(resolved(parse_settings(cell.settings, _ParsedSettings)))
    except ConfigError as error:
        raise ConfigError(f"{cell.name}: {error}") from error
    return settings


def refuse_other_recipe(cell: Cell, settings: Settings) -> None:
    """Refuse a run folder that was made with other settings than ``settings``.

    A setting that the run's recipe lacks is one that the program has got since, and counts only where a file of the
    sweep names it.

    Raises:
        RunFolderError: Naming the first setting that differs.
    """
    try:
        before = yaml.safe_load((cell.folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RunFolderError(f"'{cell.folder / 'config.yaml'}' cannot be read ({error}). Restore the file.") from None
    files = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in cell.configs]
    for place, old, new in _differences(before, settings, ()):
        key = ".".join(str(part) for part in place).replace(".[", "[")
        if key.startswith(UNIMPORTANT) or (place[:3] == ("data", "init_args", "tables") and place[-1] in PLACES):
            continue
        if old is _ABSENT and not any(_names(file, place) for file in files):
            continue
        raise RunFolderError(
            f"'{cell.folder}' was made with another recipe: {key} is {_shown(old)}, now {_shown(new)}. Remove it, or give "
            "the method or the stream another name."
        )


_ABSENT = object()
"""Stands for the value of a setting that one side has not."""


def _differences(old: Any, new: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:  # noqa: ANN401
    """Yield key path and both values of what differs, down to where both sides are mappings or lists of one length."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*place, str(key)))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, (*place, f"[{number}]"))
    elif old != new:
        yield place, old, new


def _names(settings: Any, place: tuple[str, ...]) -> bool:  # noqa: ANN401
    """Return whether the file of ``settings`` has the key path ``place``."""
    if not place:
        return True
    if isinstance(settings, list):
        number = int(place[0].strip("[]"))
        return number < len(settings) and _names(settings[number], place[1:])
    return isinstance(settings, dict) and place[0] in settings and _names(settings[place[0]], place[1:])


def _shown(value: object) -> str:
    """Return a value for a sentence."""
    if value is _ABSENT:
        return "not there"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    return text if len(text) <= 80 else f"{text[:77]}..."


@contextmanager
def _added(environment: Mapping[str, str]) -> Iterator[None]:
    """Add to this process's environment what ``${oc.env:...}`` in a configuration may name."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
