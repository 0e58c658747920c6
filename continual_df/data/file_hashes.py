"""Hashes of image files, by which copies and changed files are found."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pandas as pd

from continual_df.data.file_pool import Progress, over_files
from continual_df.data.frame_table import FrameTable
from continual_df.errors import UnreadableImageError

CHUNK = 1 << 20
"""Bytes of a file held in memory at a time."""


def hash_file(path: Path) -> str:
    """Return the BLAKE2b digest (32 hex digits) of the bytes of the file at ``path``.

    Raises:
        UnreadableImageError: If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading from a pipe or device might never end
            raise UnreadableImageError(f"'{path}' is no regular file. Remove it, or build the table again.")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise _unreadable(path, error) from None
    return digest.hexdigest()


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


def hash_readable(table: FrameTable, rows: pd.Series, progress: Progress | None = None) -> pd.Series:
    """Return `hash_files` of the ``rows`` where it is true; the empty string elsewhere and for unreadable files."""

    def digest(path: Path) -> str:
        try:
            return hash_file(path)
        except UnreadableImageError:
            return ""

    paths = table.frame.loc[rows, "path"]
    digests = list(over_files(digest, table.root, paths.tolist(), progress))
    return pd.Series(digests, index=paths.index, dtype=object).reindex(table.frame.index, fill_value="")


def _hash(root: Path, paths: pd.Series, progress: Progress | None) -> pd.Series:
    return pd.Series(list(over_files(hash_file, root, paths.tolist(), progress)), index=paths.index, dtype=object)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> UnreadableImageError:
    reason = error.strerror if isinstance(error, OSError) else error
    return UnreadableImageError(f"'{path}' cannot be read ({reason}). Restore it, or build the table again.")
