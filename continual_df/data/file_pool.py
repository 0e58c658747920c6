"""A function over many files, in threads and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called with (files done, files to do)."""

FILES_AT_ONCE = 8192
"""Files handed to the threads at a time; what waits in memory does not grow with the data set."""


def over_files(
    function: Callable[[Path], T], root: Path, paths: list[str], progress: Progress | None = None
) -> Iterator[T]:
    """Yield ``function(root / path)`` for every path, in order."""
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(paths), FILES_AT_ONCE):
            part = [root / path for path in paths[start : start + FILES_AT_ONCE]]
            for number, value in enumerate(pool.map(function, part), start + 1):
                yield value
                if progress is not None:
                    progress(number, len(paths))
