"""Any classification data set in folders, a class each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from continual_df.class_names import BETWEEN
from continual_df.data.frame_table import DEV_TEST, FrameTable, Skipped, check_frame
from continual_df.data.readers.folder_tree import IMAGE_SUFFIXES
from continual_df.data.readers.reader import Reader, existing_folder
from continual_df.data.tree import walk
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE

SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "dev_test": DEV_TEST,
    "dev-test": DEV_TEST,
    "test": "test",
}
"""What a first folder stands for, in lower case; NEVIS'22 calls validation dev."""


@dataclass(frozen=True)
class ClassFolders(Reader):
    """Images under ``<class>/``, or ``<split>/<class>/``: each class becomes a method ``<name>.<class>`` of label 1.

    For streams of ordinary classification tasks, as in NEVIS'22 [1], with ``reals: none``; a task takes all classes of a data
    set as ``<name>.*``. Classes keep the spelling of their folders. Each image is a group of its own, and may lie
    in folders below its class.

    [1] Bornschein et al., 2022, arXiv:2211.11747

    Args:
        root: Folder of the data set.
        name: Name of the data set, and source of its images; by default the root's name.
    """

    root: str
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None and (not self.name or BETWEEN in self.name or self.name.startswith("null_")):
            raise ValueError(
                f"name is '{self.name}'; it is not empty, holds no '{BETWEEN}' and does not begin with 'null_'"
            )

    def read(self) -> FrameTable:
        """Return all images, in the order of their paths."""
        root = existing_folder(self.root, "the class folders")
        name = self.name or root.resolve().name
        files, skipped = walk(root)
        is_image = {path: Path(path).suffix.lower() in IMAGE_SUFFIXES for path in files}
        images = [path for path in files if is_image[path]]
        odd = [path for path in files if not is_image[path]]
        skipped += [Skipped(path, f"not an image ('{Path(path).suffix or 'no ending'}')") for path in odd]
        in_splits = has_splits(root, {path.partition("/")[0] for path in images})
        rows = []
        for path in images:
            folders = path.split("/")[:-1]
            split = SPLIT_FOLDERS[folders.pop(0).lower()] if in_splits else ""
            if not folders:
                raise FrameTableError(
                    "the image lies in no class folder", file=root / path, fix="Move it into the folder of its class"
                )
            if BETWEEN in folders[0]:
                raise FrameTableError(
                    f"the class '{folders[0]}' holds '{BETWEEN}', which stands between method and source",
                    file=root / path,
                    fix="Rename the folder",
                )
            rows.append([path, FAKE, f"{name}.{folders[0]}", name, f"{name}/{path}", split])
        if not rows:
            raise FrameTableError("no image found", file=root, fix=f"Expected {', '.join(sorted(IMAGE_SUFFIXES))}")
        columns = ["path", "label", "method", "source", "group", "split"]
        return FrameTable(check_frame(pd.DataFrame(rows, columns=columns), root), root, skipped)


def has_splits(root: Path, first: set[str]) -> bool:
    """Return whether the ``first`` folders below ``root`` are those of splits.

    Raises:
        FrameTableError: If some are and others are not.
    """
    splits = {folder for folder in first if folder.lower() in SPLIT_FOLDERS}
    if splits and splits != first:
        raise FrameTableError(
            f"'{min(splits)}' is the folder of a split, but '{min(first - splits)}' is not",
            file=root,
            fix="Put all images into folders of splits, or none; a class of such a name needs another one",
        )
    return bool(splits)
