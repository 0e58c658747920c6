"""Writing files so that a reader, or a kill at any moment, never meets half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from continual_df.errors import WriteError

MARK = ".partial"
"""What the names of unfinished files begin with; the rest is the name that they will have."""


@contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there, file or folder, is synced and takes its name.

    Whatever fails, ``path`` is left as it was and nothing unfinished stays. Like ``path``, the temporary one ends in
    its suffix.

    Raises:
        WriteError: If the file system refuses (full, read-only, not permitted).
    """
    partial = path.with_name(f"{MARK}-{os.getpid()}-{path.name}")  # another process may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        for file in [*partial.rglob("*"), partial] if partial.is_dir() else [partial]:
            _sync(file)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise WriteError(path, error) from error
    finally:
        with suppress(OSError):  # it is what went wrong already, and the next writer begins with this
            _remove(partial)


def remove(path: Path) -> None:
    """Remove a file or folder, where it is there.

    Raises:
        WriteError: If the file system refuses.
    """
    try:
        _remove(path)
    except OSError as error:
        raise WriteError(path, error) from error


def remove_unfinished(folder: Path) -> None:
    """Remove what writers that were killed have left anywhere in ``folder``."""
    for path in sorted(folder.rglob(f"{MARK}-*")):
        remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until ``path`` is on the disk: without, a power cut could leave the new name on an empty file."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
