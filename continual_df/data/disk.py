"""Finding the files of an index on disk, although spelling, prefix and folders differ between copies."""

from __future__ import annotations

import os
from pathlib import Path

from continual_df.data.methods import known_method


class DiskIndex:
    """The folders below ``root``, each listed once when it is first asked for.

    One listing per folder instead of one ``stat`` per file keeps a million entries affordable, on network disks above
    all. Names are matched exactly, else without regard to case, else as spellings of one forgery method.

    Args:
        root: Folder to which all names are relative.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, frozenset[str]] = {}
        self._folders: dict[str, frozenset[str]] = {}
        self._lower: dict[str, dict[str, str]] = {}
        self._found: dict[str, str | None] = {}

    def _list(self, folder: str) -> None:
        if folder in self._files:
            return
        files: list[str] = []
        folders: list[str] = []
        with os.scandir(self.root / folder) as entries:
            for entry in entries:
                (folders if entry.is_dir() else files).append(entry.name)
        self._files[folder], self._folders[folder] = frozenset(files), frozenset(folders)

    def files(self, folder: str) -> frozenset[str]:
        """Return the names of the files in ``folder``, which exists below the root ("" is the root)."""
        self._list(folder)
        return self._files[folder]

    def folders(self, folder: str) -> frozenset[str]:
        """Return the names of the folders in ``folder``."""
        self._list(folder)
        return self._folders[folder]

    def file(self, folder: str, name: str) -> str | None:
        """Return the name under which ``name`` stands in ``folder``, or None."""
        if name in self.files(folder):
            return name
        if folder not in self._lower:
            self._lower[folder] = {item.casefold(): item for item in sorted(self._files[folder])}
        return self._lower[folder].get(name.casefold())

    def find(self, path: str, strip: str | None = None) -> str | None:
        """Return the path below the root of the file that an index calls ``path``, or None.

        Args:
            path: With ``/`` or backslashes, any prefix.
            strip: Leading part to drop; then nothing else is dropped.
        """
        folder, name = split_path(path, strip)
        place = self.folder(folder, search=strip is None)
        actual = None if place is None else self.file(place, name)
        if actual is None:
            return None
        return f"{place}/{actual}" if place else actual

    def has(self, path: str) -> bool:
        """Return whether the file ``path``, relative to the root or absolute, exists under just this name."""
        folder, _, name = path.rpartition("/")
        if self.folder(folder, search=False) == folder:
            return name in self.files(folder)
        return (self.root / path).is_file()

    def folder(self, folder: str, search: bool = True) -> str | None:
        """Return the folder below the root that ``folder`` names, or None.

        Args:
            folder: Its path in the index, with ``/``.
            search: Whether leading parts that do not exist below the root may be dropped: the longest existing end of
                the path counts.
        """
        key = folder if search else f"={folder}"
        if key not in self._found:
            parts = [part for part in folder.split("/") if part not in ("", ".")]
            found = None
            for start in range(len(parts) + 1 if search and parts else 1):
                if start == len(parts) and parts:
                    break  # nothing of the path is left: the root itself would stand for any folder
                found = self._walk(parts[start:])
                if found is not None:
                    break
            self._found[key] = found
        return self._found[key]

    def _walk(self, parts: list[str]) -> str | None:
        here = ""
        for position, part in enumerate(parts):
            step = self._step(here, part)
            if step is None and position and part == parts[position - 1]:
                continue  # fake/fake in the index, fake on disk
            if step is None and part.casefold() == "frames" and position:
                continue  # DF40's whole-face synthesis has no frames/ between domain and video
            if step is None and (frames := self._step(here, "frames")) is not None:
                inner = f"{here}/{frames}" if here else frames
                step = self._step(inner, part)
                here = inner if step is not None else here
            if step is None:
                return None
            here = f"{here}/{step}" if here else step
        # fake in the index, fake/fake on disk
        if here and not self.files(here):
            last = here.rpartition("/")[2]
            twin = self._step(here, last)
            if twin is not None:
                here = f"{here}/{twin}"
        return here

    def _step(self, here: str, part: str) -> str | None:
        folders = self.folders(here)
        if part in folders:
            return part
        same = sorted(name for name in folders if name.casefold() == part.casefold())
        if not same and (wanted := known_method(part)) is not None:
            same = sorted(name for name in folders if known_method(name) == wanted)
        return same[0] if same else None


def split_path(path: str, strip: str | None = None) -> tuple[str, str]:
    """Return folder and file name of an index's ``path`` with ``/``, without ``strip`` and ``./`` in front."""
    path = path.replace("\\", "/")
    if strip is not None:
        path = path.removeprefix(strip.replace("\\", "/"))
    while path.startswith("./"):
        path = path[2:]
    folder, _, name = path.strip("/").rpartition("/")
    return folder, name
