"""All files of a folder tree, whatever links it is tied together by."""

from __future__ import annotations

import os
from pathlib import Path

from continual_df.data.file_names import is_text, kind_of, unlistable
from continual_df.data.frame_table import Skipped


def walk(root: Path) -> tuple[list[str], list[Skipped]]:
    """Return all files below ``root``, with ``/`` and sorted, and what is left out; hidden names are passed over.

    Links to folders are followed, outside of the root too, but no folder is read twice: first all that really lie below
    the root, then what links lead to, in the order of their paths. So loops end, and a folder keeps its own name beside
    a link to it.

    Raises:
        FrameTableError: If a folder cannot be listed.
    """
    found: list[str] = []
    skipped: list[Skipped] = []
    own = root.resolve()
    seen = {_identity(folder) for folder in own.parents}  # a link to what contains the root leads back to it
    links: list[str] = []
    folders = [""]
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        identity = _identity(root / folder)
        if identity in seen:
            skipped.append(Skipped(folder, "link to a folder that is read elsewhere (read once)"))
            continue
        seen.add(identity)
        try:
            with os.scandir(root / folder) as listed:
                entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            raise unlistable(root / folder, error) from None
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            kind = kind_of(entry)
            if not is_text(entry.name):
                shown = path.encode(errors="backslashreplace").decode()
                skipped.append(Skipped(shown, "the name is not UTF-8 (rename it)"))
            elif kind == "file":
                found.append(path)
            elif kind == "folder":
                (links if entry.is_symlink() else folders).append(path)
            else:
                skipped.append(Skipped(path, "no file: a broken link, a pipe or a device"))
        links.sort()
    return sorted(found), skipped


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise unlistable(folder, error) from None
    return status.st_dev, status.st_ino
