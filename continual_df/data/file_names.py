"""Names on disk and in lists: what they lead to, and whether they stay below their root."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Literal

from continual_df.errors import FrameTableError

_HERE = re.compile(r"^(?:\./)+")


def kind_of(entry: os.DirEntry[str]) -> Literal["file", "folder"] | None:
    """Return what ``entry`` leads to; None for broken links, loops of links, pipes, sockets and devices."""
    try:
        if entry.is_dir():
            return "folder"
        return "file" if entry.is_file() else None
    except OSError:  # a loop of links, or a link into a folder that is closed to us
        return None


def is_text(name: str) -> bool:
    """Return whether ``name`` is valid Unicode; names on disk may be any bytes, which Python hides in surrogates."""
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def unlistable(folder: Path, error: OSError) -> FrameTableError:
    """Return the error that says why ``folder`` cannot be listed: what lies in it would be missing in silence."""
    return FrameTableError(
        f"the folder cannot be listed ({error.strerror})", file=folder, fix="Allow reading it, or take it out"
    )


def split_path(path: str, strip: str | None = None) -> tuple[str, str]:
    """Return folder and file name of an index's ``path`` with ``/``, without ``strip`` and ``./`` in front."""
    path = path.replace("\\", "/")
    if strip is not None:
        path = path.removeprefix(strip.replace("\\", "/"))
    if path.startswith("./"):
        path = _HERE.sub("", path)
    folder, _, name = path.strip("/").rpartition("/")
    return folder, name


def is_file(path: Path) -> bool:
    """Return whether ``path`` leads to a file; not where it is longer than the system takes or closed to us."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Return whether ``path`` leads to a folder; not where it is longer than the system takes or closed to us."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def below(path: str, root: Path | None) -> str:
    """Return ``path``, relative to ``root`` or absolute, as one below it, as far as the names alone say.

    ``.``, ``..`` and doubled slashes are resolved, so that a file has one name; a path that leaves the root still
    does, for `check_frame` to refuse. Links are not looked at.

    >>> below("a/../b//c.png", Path("x")), below("a/../../c.png", Path("x"))
    ('b/c.png', '../c.png')
    """
    if path.startswith("/"):
        if root is None:
            return path
        absolute, folder = posixpath.normpath(path), posixpath.normpath(root.absolute().as_posix())
        return absolute.removeprefix(folder.rstrip("/") + "/") if path.strip("/") else path
    return posixpath.normpath(path) if path else path
