"""Hashes of image files, by which copies are found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from continual_df.data.frame_table import FrameTable
from continual_df.errors import UnreadableImageError

Progress = Callable[[int, int], None]


def hash_files(table: FrameTable, progress: Progress | None = None) -> pd.Series:
    """Return the BLAKE2b digest (32 hex digits) of every file's bytes.

    Args:
        table: Frame table.
        progress: Called with (files read, files to read).

    Raises:
        UnreadableImageError: If a file cannot be read.
    """
    return _hash(table.root, table.frame["path"], progress)


def hash_shared_sizes(table: FrameTable, progress: Progress | None = None) -> pd.Series:
    """Return `hash_files` for files whose size occurs in two splits, and the empty string for all others.

    Files of a size that no other split has cannot have a copy there, so they are not read. A ``hash`` column that is
    filled in every row is used as it is.
    """
    frame = table.frame
    if "hash" in frame.columns and (frame["hash"] != "").all():
        return frame["hash"]
    size = pd.Series([_size(table.root / path) for path in frame["path"]], index=frame.index)
    split = frame["split"].where(frame["split"] != "")
    shared = split.groupby(size).transform("nunique") > 1
    return _hash(table.root, frame.loc[shared, "path"], progress).reindex(frame.index, fill_value="")


def _hash(root: Path, paths: pd.Series, progress: Progress | None) -> pd.Series:
    digests = []
    with ThreadPoolExecutor(4) as pool:
        for number, digest in enumerate(pool.map(lambda path: _digest(root / path), paths), 1):
            digests.append(digest)
            if progress is not None:
                progress(number, len(paths))
    return pd.Series(digests, index=paths.index, dtype=object)


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> UnreadableImageError:
    return UnreadableImageError(f"'{path}' cannot be read ({error.strerror}). Restore it, or build the table again.")
