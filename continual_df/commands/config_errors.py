"""Wrong settings, said in one sentence: key, file and line, nearest accepted key."""

from __future__ import annotations

import difflib
import re
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from continual_df.data.file_names import is_file
from continual_df.data.yaml_file import check_yaml

UNKNOWN_KEY = re.compile(r"(?:Group '[^']*' does not accept option|Option) '([^']+)'")
UNKNOWN_FLAG = re.compile(r"unrecognized arguments: ([^\s=]+)")
UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
NOT_NONE = "Expected a <class 'NoneType'>"


def explain(message: str, parser: ArgumentParser, classes: Iterable[str]) -> str:
    """Return jsonargparse's ``message`` as one sentence, with the nearest accepted key or class.

    The parser of a nested class explains its own error first, and that sentence then stands inside the outer message,
    as one of several alternatives.

    Args:
        message: What jsonargparse says.
        parser: The parser that says it; its options are the accepted keys.
        classes: Bare class names that a YAML may use.
    """
    key = UNKNOWN_KEY.match(message)
    if key:
        word = key[1].partition(".")[0]
        accepted = {part for action in parser._actions for part in (action.dest, action.dest.rpartition(".")[2])}
        tops = {action.dest.partition(".")[0] for action in parser._actions}
        return f"the key '{word}' is not known{nearest(word, tops if '.' in key[1] else accepted)}"
    flag = UNKNOWN_FLAG.match(message)
    if flag:
        return f"the option '{flag[1]}' is not known{nearest(flag[1], parser._option_string_actions)}"
    name = UNKNOWN_CLASS.search(message)
    place = re.match(r'Parser key "([^"]+)":\s*', message)
    if place is None:
        return " ".join(message.split())
    if name and "Union" in message:
        return f"{place[1]}: there is no class '{name[1]}'{nearest(name[1], classes)}"
    return f"{place[1]}: {first_alternative(message[place.end() :])}"


def first_alternative(message: str) -> str:
    """Return the first reason, on one line, of a message that lists why no alternative of a type fits."""
    reasons = re.split(r"\n\s*- ", re.split(r"\n\s*Given value type:", message.partition("Errors:")[2])[0])
    told = [" ".join(reason.split()) for reason in reasons if reason.strip() and reason.strip() != NOT_NONE]
    return told[0] if told else " ".join(message.split())


def check_configs(argv: list[str]) -> None:
    """Refuse the YAML files that ``argv`` names where they are broken or would unfold without end.

    Raises:
        ConfigError: With file and line.
    """
    for word, before in zip(argv, ["", *argv], strict=False):
        flag, _, value = word.partition("=") if word.startswith("-") else (before, "", word)
        file = Path(value)
        if value and (flag in ("-c", "--config") or file.suffix in (".yaml", ".yml")) and is_file(file):
            check_yaml(file)


def locate(sentence: str, files: list[Path]) -> str:
    """Return ``sentence`` with the file and line in which the key that it names stands, if one does."""
    key = re.search(r"key '([^']+)'|class '([^']+)'|(\w+): Expected", sentence)
    if key is None:
        return sentence
    word = next(group for group in key.groups() if group)
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(rf"(^|[\s\"'{{,.]){re.escape(word)}\b", line.partition("#")[0]):
                return f"{file}, line {number}: {sentence}"
    return sentence


def nearest(word: str, accepted: Iterable[str]) -> str:
    """Return the end of a sentence that asks for the accepted word most like ``word``; empty where none is like it."""
    near = difflib.get_close_matches(word, sorted(accepted), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
