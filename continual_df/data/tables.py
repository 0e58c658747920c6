"""The tables that a YAML file names."""

from __future__ import annotations

import difflib
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import yaml  # for its errors, which OmegaConf lets through
from jsonargparse import ArgumentError, ArgumentParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from continual_df.data import readers
from continual_df.data.file_names import is_file
from continual_df.data.frame_table import FrameTable, concat_tables
from continual_df.data.readers import Reader
from continual_df.data.yaml_file import check_yaml
from continual_df.errors import ConfigError, FrameTableError

_PLACES = ("tables", "data.init_args.tables", "data.tables")


def load_tables(config: Path) -> FrameTable:
    """Return one frame table of all readers that ``config`` lists.

    Args:
        config: An experiment, or a YAML file with ``tables:`` at its top: a list of ``{class_path, init_args}``, the
            class a reader's name or full path.

    Raises:
        ConfigError: If the file, a key or a value in it is wrong; names the key and the nearest accepted one.
        DatasetNotFoundError: If a data set is not there.
        FrameTableError: If a data set's description is wrong, or two readers give the same file.
    """
    tables = [reader.read() for reader in load_readers(config)]
    try:
        return concat_tables(tables)
    except FrameTableError as error:
        raise FrameTableError(
            str(error), file=config, fix="Leave the images out of one reader, e.g. by 'where'"
        ) from None


def load_readers(config: Path) -> list[Reader]:
    """Return the readers that ``config`` lists, ready to read."""
    if not is_file(config):
        raise ConfigError(
            f"The configuration '{config}' does not exist. Give a YAML file, or a .csv or .parquet table."
        )
    return [_build(spec, f"{config}: tables[{number}]") for number, spec in enumerate(_specs(config))]


def _specs(config: Path) -> list[dict[str, Any]]:
    check_yaml(config)
    try:
        tree = OmegaConf.load(config)
        for place in _PLACES:
            node = OmegaConf.select(tree, place) if isinstance(tree, DictConfig) else None
            if node is not None:
                # ${...} may point outside the list, so it is resolved in place
                specs = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
                break
        else:
            raise ConfigError(f"{config}: there is no list of tables. Put it under 'tables' or '{_PLACES[1]}'.")
    except yaml.YAMLError as error:  # a merge '<<' of what is no mapping
        raise ConfigError(f"{config} is not valid YAML: {' '.join(str(error).split())}. Correct it there.") from None
    except RecursionError:
        raise ConfigError(f"{config}: a reference ${{...}} leads back to itself. Correct it.") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{config}: {_gist(str(error))}. Set the variable, or correct the ${{...}}.") from None
    if not isinstance(specs, list) or not specs:
        raise ConfigError(f"{config}: '{place}' is {type(specs).__name__} or empty. Give a list of readers.")
    return specs


def _build(spec: object, place: str) -> Reader:
    """Return the reader that ``spec`` describes; ``place`` is where it stands, for messages."""
    if not isinstance(spec, dict) or not isinstance(spec.get("class_path"), str):
        raise ConfigError(f"{place} has no class_path. Write class_path: DeepfakeBench and init_args: below it.")
    for key in spec:
        if key not in ("class_path", "init_args"):
            raise ConfigError(f"{place}: unknown key '{key}'. Put the reader's settings under 'init_args'.")
    reader, values = _reader_class(spec["class_path"], place), spec.get("init_args") or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{place}.init_args is {ascii(values)[:80]}. Write the reader's settings as 'key: value'.")
    known = [name for name in inspect.signature(reader).parameters]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"Did you mean '{near[0]}'?" if near else f"It knows {', '.join(known)}."
            raise ConfigError(f"{place}.init_args: {reader.__name__} has no key '{key}'. {hint}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(reader, "init_args")
    try:
        return reader(**vars(parser.parse_object({"init_args": values}).init_args))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(f"{place}: {_gist(str(error))}. Correct the value.") from None


def _reader_class(class_path: str, place: str) -> type[Reader]:
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module) if module else readers, name, None)
    except (ImportError, TypeError, ValueError):  # no such module, or no name of one: '..x', 'a..b'
        found = None
    if not (isinstance(found, type) and issubclass(found, Reader)):
        near = difflib.get_close_matches(name, readers.__all__, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"they are {', '.join(readers.__all__)}."
        raise ConfigError(f"{place}: no reader is called '{class_path}'; {hint}")
    return found


def _gist(message: str) -> str:
    """Return the first lines of a library's message that say something."""
    message = re.sub(r"^\w+ raised while resolving interpolation: ", "", message)
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    return " ".join(lines[:2]).rstrip(".:") if lines else "unreadable"
