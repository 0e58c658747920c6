"""The file of a sweep: which methods run on which streams with which seeds, and where their numbers go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from continual_df.commands.config_errors import nearest
from continual_df.data.file_names import is_file
from continual_df.data.yaml_file import check_yaml
from continual_df.errors import ConfigError

NAME = re.compile(r"\w[\w.+-]*", re.ASCII)
"""What names a stream or a method: it becomes a folder."""

KEYS = ("name", "streams", "methods", "seeds", "runs", "common", "out", "csv", "workers", "threads", "environment")
BLOCK = ("streams", "methods", "seeds")

T = TypeVar("T", str, int)


@dataclass(frozen=True)
class Cell:
    """One run of the grid.

    Attributes:
        stream: Name of the stream.
        method: Name of the method.
        seed: ``seed_everything``.
        configs: Its configuration files, later ones win.
        folder: Its run folder, ``OUT/STREAM/METHOD/seed_S``.
    """

    stream: str
    method: str
    seed: int
    configs: tuple[Path, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.stream}/{self.method}/{self.folder.name}"

    @property
    def log(self) -> Path:
        """File of what its processes print, beside the run folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def settings(self) -> list[str]:
        """Arguments of ``continual-df run`` that begin it."""
        configs = [word for file in self.configs for word in ("--config", str(file))]
        return [*configs, "--name", self.method, "--seed_everything", str(self.seed), "--run_dir", str(self.folder)]


@dataclass(frozen=True)
class Sweep:
    """A sweep's file, checked.

    Attributes:
        file: The file itself; the configurations that it names are found from its folder.
        cells: The runs, each once, in the order in which they are made.
        csv: Where each finished run leaves a row.
        workers: Runs at a time.
        environment: What is added to the environment of a run.
    """

    file: Path
    cells: tuple[Cell, ...]
    csv: Path
    workers: int
    environment: dict[str, str]


def read_sweep(file: Path) -> Sweep:
    """Return the sweep that ``file`` describes.

    ``runs`` is a list of blocks; a block runs each of its ``streams`` with each of its ``methods`` and ``seeds``, all
    of them where it does not say which, and a run that two blocks name is made once. Without ``runs``, there is one
    block of everything. The order is that of the blocks, and within a block the first seed of everything comes before
    the second, so that a part of the grid is of use.

    Raises:
        ConfigError: Naming the file and the key that is wrong.
    """
    if not is_file(file):
        raise ConfigError(f"The sweep file '{file}' is not there. Name a YAML file with streams, methods and seeds.")
    check_yaml(file)
    top = _Mapping(file, "", yaml.safe_load(file.read_text(encoding="utf-8")), KEYS)
    name = top.name("name", file.stem)
    out, csv = Path(top.text("out", f"runs/{name}")), Path(top.text("csv", f"docs/results/{name}.csv"))
    common, streams, methods = top.files("common"), top.named_files("streams"), top.named_files("methods")
    seeds = top.seeds("seeds", [0])
    cells: dict[Cell, None] = {}
    for block in top.blocks("runs"):
        chosen_streams = block.chosen("streams", list(streams))
        chosen_methods = block.chosen("methods", list(methods))
        for seed in block.chosen("seeds", seeds):
            for stream in chosen_streams:
                for method in chosen_methods:
                    configs = (*common, *streams[stream], *methods[method])
                    cells[Cell(stream, method, seed, configs, out / stream / method / f"seed_{seed}")] = None
    threads = top.count("threads", 1)
    environment = {"OMP_NUM_THREADS": str(threads), **top.strings("environment")}
    return Sweep(file, tuple(cells), csv, top.count("workers", 1), environment)


def select_cells(cells: Sequence[Cell], wanted: Iterable[str]) -> list[Cell]:
    """Return the cells that fit ``wanted``, words like ``method=er``; one key given twice allows both values.

    Raises:
        ConfigError: If a word names what the sweep has not, or nothing fits.
    """
    allowed: dict[str, set[str]] = {}
    for word in wanted:
        key, _, value = word.partition("=")
        if key not in ("stream", "method", "seed"):
            raise ConfigError(f"--only takes stream=, method= and seed=, got '{word}'{nearest(key, BLOCK)}")
        known = {str(getattr(cell, key)) for cell in cells}
        for part in value.split(","):
            if part not in known:
                raise ConfigError(f"--only {word}: no run of the sweep has the {key} '{part}'{nearest(part, known)}")
        allowed.setdefault(key, set()).update(value.split(","))
    chosen = [cell for cell in cells if all(str(getattr(cell, key)) in values for key, values in allowed.items())]
    if not chosen:
        raise ConfigError(f"--only {' '.join(wanted)}: no run of the sweep is all of that.")
    return chosen


class _Mapping:
    """One mapping of the file, whose values are taken out by kind.

    Args:
        file: The file, for messages.
        place: Key path of the mapping, empty at the top.
        values: The mapping.
        keys: Keys that it may have.
    """

    def __init__(self, file: Path, place: str, values: Any, keys: Sequence[str]) -> None:  # noqa: ANN401
        self.file, self.place, self.values = file, place, values
        if not isinstance(values, dict):
            self.refuse("", "a mapping", values)
        for key in values:
            if key not in keys:
                hint = nearest(str(key), keys) or f". It takes {', '.join(keys)}."
                raise ConfigError(f"{file}: the key '{place}{key}' is not known{hint}")

    def refuse(self, key: str, expected: str, value: object) -> None:
        """Refuse the value of ``key``.

        Raises:
            ConfigError: Always.
        """
        where = (self.place + key).rstrip(".") or "the file"
        raise ConfigError(f"{self.file}: {where}: expected {expected}, got {value!r}.")

    def text(self, key: str, default: str) -> str:
        """Return a text that is not empty."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or not value:
            self.refuse(key, "a text", value)
        return str(value)

    def name(self, key: str, default: str) -> str:
        """Return a text that can name a folder."""
        value = self.text(key, default)
        if not NAME.fullmatch(value):
            self.refuse(key, "letters, digits and _ . + - only, no leading . or -", value)
        return value

    def count(self, key: str, default: int) -> int:
        """Return a whole number of at least 1."""
        value = self.values.get(key, default)
        if type(value) is not int or value < 1:
            self.refuse(key, "a whole number of at least 1", value)
        return int(value)

    def strings(self, key: str) -> dict[str, str]:
        """Return a mapping of texts or numbers, as texts."""
        values = self.values.get(key, {})
        if not isinstance(values, dict):
            self.refuse(key, "a mapping of variables", values)
        for variable, value in values.items():
            if type(value) not in (str, int, float):
                self.refuse(f"{key}.{variable}", "a text or a number", value)
        return {str(variable): str(value) for variable, value in values.items()}

    def files(self, key: str) -> tuple[Path, ...]:
        """Return the files of a list, or of one name, found from the sweep's folder; each is there."""
        value = self.values.get(key, [])
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.refuse(key, "a list of files", value)
        found = tuple(self.file.parent / name for name in names)
        for path in found:
            if not is_file(path):
                raise ConfigError(
                    f"{self.file}: {self.place}{key}: '{path}' is not there. Paths begin where this file is."
                )
        return found

    def named_files(self, key: str) -> dict[str, tuple[Path, ...]]:
        """Return lists of files by name; in their place may be files that hold such mappings, of which a later one takes over a name."""
        values = self.values.get(key)
        if isinstance(values, str | list):
            named: dict[str, tuple[Path, ...]] = {}
            for shared in self.files(key):
                check_yaml(shared)
                content = {key: yaml.safe_load(shared.read_text(encoding="utf-8"))}
                named |= _Mapping(shared, "", content, [key]).named_files(key)
            return named
        if not isinstance(values, dict) or not values:
            self.refuse(key, "a mapping of names to lists of files", values)
        inner = _Mapping(self.file, f"{self.place}{key}.", values, list(values or {}))
        for name in inner.values:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                self.refuse(key, "names of letters, digits and _ . + -", name)
        return {name: inner.files(name) for name in inner.values}

    def seeds(self, key: str, default: list[int]) -> list[int]:
        """Return a list of whole numbers from 0."""
        return self._list(key, default, lambda value: type(value) is int and value >= 0, "a list of whole numbers")

    def chosen(self, key: str, accepted: list[T]) -> list[T]:
        """Return which of ``accepted`` a list names; all where there is none."""
        values = self._list(key, accepted, lambda value: type(value) in (str, int), "a list")
        for value in values:
            if value not in accepted:
                hint = nearest(str(value), [str(one) for one in accepted])
                known = hint or f". It knows {', '.join(map(str, accepted))}."
                raise ConfigError(f"{self.file}: {self.place}{key}: '{value}' is not among the sweep's {key}{known}")
        return values

    def blocks(self, key: str) -> Iterator[_Mapping]:
        """Return the mappings of a list; an empty one where there is no list."""
        values = self.values.get(key, [{}])
        if not isinstance(values, list) or not values:
            self.refuse(key, "a list of blocks, each with streams, methods and seeds", values)
        for number, value in enumerate(values):
            yield _Mapping(self.file, f"{self.place}{key}[{number}].", value, BLOCK)

    def _list(self, key: str, default: list[T], fits: Callable[[object], bool], expected: str) -> list[T]:
        """Return a list that is not empty, of values that fit, none twice."""
        values = self.values.get(key, default)
        if not isinstance(values, list) or not values or not all(map(fits, values)):
            self.refuse(key, expected, values)
        if len(set(values)) < len(values):
            self.refuse(key, "each value once", values)
        return list(values)
