"""Finding the files of an index on disk, although spelling, prefix and folders differ between copies."""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path

from continual_df.data.file_names import is_file, is_text, kind_of, split_path, unlistable
from continual_df.data.methods import KnownMethod, known_method

LONGEST_PATH = 4096
"""Characters of the longest path that is looked for; no file system takes more."""

_KEPT = 1 << 16
"""Folders whose listing is kept; a million folders of one image each would take half a gigabyte."""


class DiskIndex:
    """The folders below ``root``, each listed once when it is first asked for.

    One listing per folder instead of one ``stat`` per file keeps a million entries affordable, on network disks above
    all. Names are matched exactly, else without regard to case and Unicode form (NFC or NFD), else as spellings of one
    forgery method. Symbolic links are followed, outside of the root too: data sets on clusters are put together by
    them. Only what a link, a pipe or a device stands for counts: one that leads to no file is no file.

    Args:
        root: Folder to which all names are relative.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._list = lru_cache(_KEPT)(self._read)
        self._above = lru_cache(_KEPT)(self._search)
        self._exists = lru_cache(_KEPT)(self._exact)
        self._last: tuple[tuple[str, bool], str | None] = (("", False), "")

    def _read(self, folder: str) -> _Listing:
        files: list[str] = []
        folders: list[str] = []
        try:
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    kind = kind_of(entry)
                    if kind is not None and is_text(entry.name):
                        (folders if kind == "folder" else files).append(entry.name)
        except OSError as error:
            raise unlistable(self.root / folder, error) from None
        return _Listing(files, folders)

    def files(self, folder: str) -> frozenset[str]:
        """Return the names of the files in ``folder``, which exists below the root ("" is the root)."""
        return self._list(folder).files

    def folders(self, folder: str) -> frozenset[str]:
        """Return the names of the folders in ``folder``."""
        return self._list(folder).folders

    def file(self, folder: str, name: str) -> str | None:
        """Return the name under which ``name`` stands in ``folder``, or None."""
        return self._list(folder).file(name)

    def find(self, path: str, strip: str | None = None) -> str | None:
        """Return the path below the root of the file that an index calls ``path``, or None.

        Args:
            path: With ``/`` or backslashes, any prefix.
            strip: Leading part to drop; then nothing else is dropped.
        """
        folder, name = split_path(path, strip)
        return self.locate(folder, name, search=strip is None)

    def locate(self, folder: str, name: str, search: bool = True) -> str | None:
        """Return the path below the root of the file ``name`` in what an index calls ``folder``, or None."""
        place = self.folder(folder, search)
        actual = None if place is None else self.file(place, name)
        if actual is None:
            return None
        return f"{place}/{actual}" if place else actual

    def has(self, path: str) -> bool:
        """Return whether the file ``path``, relative to the root or absolute, exists under just this name."""
        folder, _, name = path.rpartition("/")
        if self._exists(folder):
            return name in self.files(folder)
        return is_file(self.root / path)

    def folder(self, folder: str, search: bool = True) -> str | None:
        """Return the folder below the root that ``folder`` names, or None.

        Args:
            folder: Its path in the index, with ``/``.
            search: Whether leading parts that do not exist below the root may be dropped: the longest existing end of
                the path counts.
        """
        if self._last[0] != (folder, search):  # the frames of a video follow each other
            here = None if len(folder) > LONGEST_PATH else self._folder(folder, search)
            # fake in the index, fake/fake on disk
            if here and not self.files(here):
                twin = self._step(here, here.rpartition("/")[2])
                here = here if twin is None else f"{here}/{twin}"
            self._last = (folder, search), here
        return self._last[1]

    def _folder(self, folder: str, search: bool) -> str | None:
        if not search or not folder:
            return self._walk(_parts(folder))
        # videos lie side by side: what leads to the folder above them is looked for once
        above, _, part = folder.rpartition("/")
        if part in ("", "."):
            return self._folder(above, search)
        drop, here = self._above(above)
        found = None if here is None else self._advance(here, part, above.rpartition("/")[2])
        if found is None:
            drop, found = self._search(folder, drop + (here is not None))
        return found

    def _search(self, folder: str, start: int = 0) -> tuple[int, str | None]:
        """Return how many leading parts of ``folder``, at least ``start``, are dropped to find it, and its place.

        Where it is nowhere, all are, and the place is None.
        """
        parts = _parts(folder)
        for drop in range(start, len(parts)):  # never all: the root itself would stand for any folder
            if self._advance("", parts[drop], None) is not None:
                found = self._walk(parts[drop:])
                if found is not None:
                    return drop, found
        return len(parts), None

    def _exact(self, folder: str) -> bool:
        here = ""
        for part in folder.split("/") if folder else []:
            if part not in self.folders(here):
                return False
            here = f"{here}/{part}" if here else part
        return True

    def _walk(self, parts: list[str]) -> str | None:
        here: str | None = ""
        for part, previous in zip(parts, [None, *parts], strict=False):
            here = self._advance(here or "", part, previous)
            if here is None:
                return None
        return here

    def _advance(self, here: str, part: str, previous: str | None) -> str | None:
        """Return where ``part`` leads from ``here``, or None; ``previous`` is the part that led there, if one did."""
        step = self._step(here, part)
        if step is None and previous is not None and (part == previous or part.casefold() == "frames"):
            return here  # fake/fake in the index, fake on disk; DF40's whole-face synthesis has no frames/
        if step is None and (frames := self._step(here, "frames")) is not None:
            here = f"{here}/{frames}" if here else frames
            step = self._step(here, part)
        if step is None:
            return None
        return f"{here}/{step}" if here else step

    def _step(self, here: str, part: str) -> str | None:
        return self._list(here).folder(part)


class _Listing:
    """The names in one folder."""

    __slots__ = ("_files_spelt", "_folders_spelt", "_methods", "files", "folders")

    def __init__(self, files: list[str], folders: list[str]) -> None:
        self.files, self.folders = frozenset(files), frozenset(folders)
        self._files_spelt: dict[str, str] | None = None
        self._folders_spelt: dict[str, str] | None = None
        self._methods: dict[KnownMethod, str] = {}

    def file(self, name: str) -> str | None:
        """Return the file that ``name`` spells."""
        if name in self.files or not self.files:
            return name if self.files else None
        if self._files_spelt is None:
            self._files_spelt = {_fold(item): item for item in sorted(self.files, reverse=True)}
        return self._files_spelt.get(_fold(name))

    def folder(self, name: str) -> str | None:
        """Return the folder that ``name`` spells."""
        if name in self.folders or not self.folders:
            return name if self.folders else None
        if self._folders_spelt is None:
            ordered = sorted(self.folders, reverse=True)  # of several that fit, the first is the last to be entered
            self._folders_spelt = {_fold(item): item for item in ordered}
            self._methods = {method: item for item in ordered if (method := known_method(item)) is not None}
        found = self._folders_spelt.get(_fold(name))
        if found is None and self._methods and (wanted := known_method(name)) is not None:
            found = self._methods.get(wanted)
        return found


def _parts(folder: str) -> list[str]:
    return [part for part in folder.split("/") if part not in ("", ".")]


def _fold(name: str) -> str:
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()
