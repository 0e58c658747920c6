"""JSON files of any bytes: parsed, or refused with the place."""

from __future__ import annotations

import gc
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continual_df.errors import FrameTableError

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def read_json(file: Path, fix: str) -> Any:  # noqa: ANN401
    """Return what the JSON in ``file`` says; a byte-order mark is passed over.

    A key that stands twice in one object is refused: JSON takes the last, and images would be lost without a word. So
    are half surrogate pairs, which no file system and no table can hold.

    Args:
        file: The file.
        fix: What the user can do about a broken one.

    Raises:
        FrameTableError: If the file cannot be read or is no JSON; with line and column where there are some.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        with collector_off():
            content = json.loads(text, object_pairs_hook=_each_key_once)
        if _LONE_SURROGATE.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except OSError as error:
        raise FrameTableError(f"cannot be read ({error.strerror})", file=file, fix="Allow reading it") from None
    except UnicodeEncodeError as error:
        around = str(error.object)[max(0, error.start - 60) : error.start]
        raise FrameTableError(
            "half a surrogate pair is no text", file=file, row=f"after {around!r}", fix="Write the name's own letters"
        ) from None
    except RecursionError:
        raise FrameTableError("it is nested too deeply", file=file, fix=fix) from None
    except ValueError as error:  # no JSON, no UTF-8, a number of more digits than Python reads, a key twice
        raise FrameTableError(f"not a JSON file ({error})", file=file, fix=fix) from None
    return content


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python's collector from walking a million small objects without a cycle again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:200]!r} stands twice in one object")
    return entry
