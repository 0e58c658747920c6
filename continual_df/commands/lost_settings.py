"""Settings that jsonargparse would drop unsaid where a later file changes the class around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from continual_df.errors import ConfigError

Place = tuple[str, ...]


def refuse_lost(files: list[Path], classes: dict[str, str], config: Any) -> None:  # noqa: ANN401
    """Refuse a setting with ``${...}`` that does not outlive the change of a class by a later file or flag.

    On such a change jsonargparse keeps the settings that suit the new class too. It tests their values before it has
    looked up what ``${...}`` stands for, so that none of these suits, and puts the default in their place.

    Args:
        files: The files in order; later ones win.
        classes: Class by key path, as given on the command line.
        config: The settings as they were understood.

    Raises:
        ConfigError: Naming file, key and remedy.
    """
    flags = {key: {"class_path": name} for key, name in classes.items()}
    contents = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]
    for number, (file, content) in enumerate(zip(files, contents, strict=True)):
        for place, name, arguments in _classes(content, ()):
            key = ".".join(place)
            later = [_at(other, place) for other in contents[number + 1 :]] + [flags.get(key)]
            others = [_class_of(value) for value in later]
            if all(other in (None, name.rpartition(".")[2]) for other in others):
                continue
            for argument, value in arguments.items():
                given_anew = any(argument in _arguments(value) for value in later)
                known = f"{key}.init_args.{argument}" in config
                if "${" in str(value) and known and not given_anew:
                    raise ConfigError(
                        f"{file}: {key}.init_args.{argument}: its ${{...}} would be lost, since the class of '{key}' is changed "
                        f"after it. Write the value itself, or set '{argument}' where the class is changed."
                    )


def _classes(content: Any, place: Place) -> Iterator[tuple[Place, str, dict[str, Any]]]:  # noqa: ANN401
    """Yield key path, class and settings of every class in mappings of ``content``."""
    if not isinstance(content, dict):
        return
    if isinstance(content.get("class_path"), str) and isinstance(content.get("init_args"), dict):
        yield place, content["class_path"], content["init_args"]
    for key, value in content.items():
        yield from _classes(value, (*place, str(key)))


def _at(content: Any, place: Place) -> Any:  # noqa: ANN401
    """Return what stands at ``place``, None if nothing."""
    for key in place:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _class_of(value: Any) -> str | None:  # noqa: ANN401
    """Return the bare name of the class that ``value`` names, None if it names none."""
    name = value.get("class_path") if isinstance(value, dict) else value
    return name.rpartition(".")[2] if isinstance(name, str) else None


def _arguments(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the settings of a class."""
    found = value.get("init_args") if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
