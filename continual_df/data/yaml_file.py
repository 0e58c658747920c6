"""YAML files of any bytes: refused with file and line before a library unfolds them."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import yaml

from continual_df.errors import ConfigError

MAX_BYTES = 1 << 18
"""Largest configuration; lists of images belong into tables, which are read a thousand times faster."""

MAX_NODES = 100_000
"""Most values after anchors are unfolded; a file of 300 bytes can stand for a billion of them."""

MAX_DEPTH = 50
"""Deepest nesting; the libraries that read configurations recurse."""

MAX_REFERENCES = 20
"""Most ``${...}`` in one value; their grammar takes long over nested ones."""

_PREFIX = "tag:yaml.org,2002:"
_CHECKED = {_PREFIX + name for name in ("int", "float", "bool", "null")}
_KNOWN = _CHECKED | {_PREFIX + name for name in ("str", "map", "seq", "merge", "timestamp")}


def check_yaml(file: Path) -> None:
    """Refuse ``file`` where it is no YAML mapping of bounded size without tags, or names a key twice.

    Raises:
        ConfigError: With the line, where there is one.
    """
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"{file}: its {size} bytes are more than the {MAX_BYTES} allowed. List images in a .csv or .parquet."
            )
        text = file.read_text(encoding="utf-8")
        if _open_brackets(text) > 4 * MAX_DEPTH:  # the time of the pure loader grows with their square
            raise RecursionError
        loader = yaml.SafeLoader(text)  # libyaml's loader, which is faster, crashes on 250,000 brackets
        root = loader.get_single_node()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}). Allow reading it.") from None
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{file}{where}: this is not valid YAML: {error.problem}. Correct it there.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:  # characters that no YAML holds
        raise ConfigError(f"{file} is not valid YAML: {' '.join(str(error).split())}. Correct it there.") from None
    except RecursionError:
        raise ConfigError(f"{file}: it is nested more than {MAX_DEPTH} deep. Flatten it.") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file}: a configuration is a mapping of settings, 'key: value'. Write it so.")
    _Check(file, loader).nodes(root, 0)


def _open_brackets(text: str) -> int:
    """Return how many brackets are open at most, as far as one can see without parsing."""
    steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    return max(itertools.accumulate(steps), default=0)


class _Check:
    """One file's check.

    Args:
        file: The file, for messages.
        loader: The loader that composed its nodes.
    """

    def __init__(self, file: Path, loader: yaml.SafeLoader) -> None:
        self.file, self.loader = file, loader
        self.counts: dict[int, int] = {}
        self.within: set[int] = set()

    def nodes(self, node: yaml.Node, depth: int) -> int:
        """Return the number of values for which ``node`` stands, each alias counted where it is used."""
        if id(node) in self.within:
            self.refuse(node, "an anchor contains itself", "Leave the alias out")
        if depth > MAX_DEPTH:
            self.refuse(node, f"it is nested more than {MAX_DEPTH} deep", "Flatten it")
        if id(node) not in self.counts:
            if node.tag not in _KNOWN:
                tag = node.tag.replace(_PREFIX, "!!")
                self.refuse(node, f"the tag '{tag}' is not read: a configuration makes no objects", "Leave it out")
            self.within.add(id(node))
            self.counts[id(node)] = 1 + sum(self.nodes(child, depth + 1) for child in self.children(node))
            self.within.remove(id(node))
        if self.counts[id(node)] > MAX_NODES:
            self.refuse(node, f"its aliases stand for more than {MAX_NODES} values", "Write less by aliases")
        return self.counts[id(node)]

    def children(self, node: yaml.Node) -> list[yaml.Node]:
        """Return the nodes below ``node``, whose own value is checked."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    self.refuse(key, "a key is a list or a mapping", "Write a word")
                if key.value in seen:
                    self.refuse(key, f"the key '{key.value[:80]}' stands twice", "Leave one out")
                seen.add(key.value)
            return [child for pair in node.value for child in pair]
        self.scalar(node)
        return []

    def scalar(self, node: yaml.ScalarNode) -> None:
        """Refuse a value that the libraries fall over."""
        if node.tag in _CHECKED and self.loader.resolve(yaml.ScalarNode, node.value, (True, False)) != node.tag:
            self.refuse(node, f"'{node.value[:80]}' is not what its tag says", "Leave the tag out")
        if node.tag == _PREFIX + "int" and len(node.value) > 400:
            self.refuse(node, f"a number of {len(node.value)} digits is not read", "Write a smaller one")
        if any("\ud800" <= letter <= "\udfff" for letter in node.value):
            self.refuse(node, "half a surrogate pair is no text", "Write the letters themselves")
        if node.value.count("${") > MAX_REFERENCES:
            self.refuse(node, f"more than {MAX_REFERENCES} references ${{...}} in one value", "Write fewer")

    def refuse(self, node: yaml.Node, problem: str, fix: str) -> None:
        """Refuse ``node``."""
        raise ConfigError(f"{self.file}, line {node.start_mark.line + 1}: {problem}. {fix}.")
