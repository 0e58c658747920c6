"""Folders whose names say the class."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from continual_df.data.frame_table import FrameTable, Skipped, check_frame
from continual_df.data.methods import canonical
from continual_df.data.readers.reader import Reader, existing_folder
from continual_df.data.tree import walk
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE, REAL, REAL_METHOD

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class FolderTree(Reader):
    """Images under ``<method>/<group>/``, ``<method>/``, ``0_real`` and ``1_fake``, or ``<method>/0_real`` and so on.

    A first folder ``train``, ``val`` or ``test`` is the split; in CDDB [1] a second one, above ``0_real``, may name
    what is shown, so ``method`` is set there. Folders below the class are the group (and the video);
    images right in it are stills, grouped by their name, so that a photo and its forgeries of the same name stay
    together. Links are followed as `continual_df.data.tree.walk` says: no folder is read twice.

    [1] Li et al., 2023, arXiv:2205.05467

    Args:
        root: Folder of the tree.
        source: Domain of the pixels; by default the root's name.
        real: Names of folders that hold real images, in any case.
        fake: Names of folders that hold fakes of the method that is named above them.
        method: Method of all fakes in such folders; by default the folder above them, else the root's name.
        split: Split of all images, where the tree has no folders for it.
        splits: Split for which a first folder stands, where its name says otherwise, e.g. ``{val: test}``.
    """

    root: str
    source: str | None = None
    real: list[str] = field(default_factory=lambda: ["real", "0_real", "reals", "original", "nature"])
    fake: list[str] = field(default_factory=lambda: ["fake", "1_fake", "fakes", "ai"])
    method: str | None = None
    split: Literal["train", "val", "test"] | None = None
    splits: dict[str, Literal["train", "val", "test"]] = field(default_factory=dict)

    def read(self) -> FrameTable:
        """Return all images of the tree, in the order of their paths."""
        root = existing_folder(self.root, "the folder tree")
        name = root.resolve().name
        source = self.source or name
        real, fake = ({item.casefold() for item in names} for names in (self.real, self.fake))
        split_of = {**_SPLITS, **{folder.lower(): split for folder, split in self.splits.items()}}
        rows = []
        files, skipped = walk(root)
        for path in files:
            folders, stem = path.split("/")[:-1], Path(path).stem
            if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
                skipped.append(Skipped(path, f"not an image ('{Path(path).suffix or 'no ending'}')"))
                continue
            split = split_of.get(folders[0].lower()) if folders else None
            rest = folders[1:] if split else folders
            kinds = [part.casefold() in real or part.casefold() in fake for part in rest]
            if not rest:
                raise FrameTableError(
                    "the image lies in no class folder",
                    file=root / path,
                    fix="Move it into <method>/ or 0_real/, or name it in a table for 'TableFile'",
                )
            at = kinds.index(True) if any(kinds) else 0
            is_real = rest[at].casefold() in real
            named = rest[at] if not any(kinds) else (self.method or (rest[0] if at else name))
            method = REAL_METHOD if is_real else canonical(named)
            below = "/".join(rest[at + 1 :])
            rows.append(
                {
                    "path": path,
                    "label": REAL if is_real or method.startswith("null_") else FAKE,
                    "method": method,
                    "source": source,
                    "group": f"{source}/{below or stem}",
                    "video": f"{source}/{'/'.join(folders)}" + ("" if below else f"/{stem}"),
                    "split": split or self.split or "",
                }
            )
        if not rows:
            raise FrameTableError("no image found", file=root, fix=f"Expected {', '.join(sorted(IMAGE_SUFFIXES))}")
        return FrameTable(check_frame(pd.DataFrame(rows), root), root, skipped)
