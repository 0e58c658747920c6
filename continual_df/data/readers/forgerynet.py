"""The image label lists of ForgeryNet."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from continual_df.data.disk import DiskIndex
from continual_df.data.file_names import split_path
from continual_df.data.frame_table import FrameTable, Skipped, check_frame
from continual_df.data.readers.reader import Reader, existing_file, existing_folder
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE, REAL, REAL_METHOD

METHODS = (
    REAL_METHOD,
    "faceshifter",
    "fsgan",
    "deepfacelab",
    "blendface_fn",  # not the BlendFace (2023) of DF40
    "mmreplacement",
    "deepfakes_stargan_stack",
    "talkingheadvideo",
    "atvgnet",
    "stargan_blendface_stack",
    "fomm",
    "stylegan2",
    "maskgan",
    "starganv2",
    "scfegan",
    "discofacegan",
)
"""Canonical name of each of the 16 classes, by their number."""


@dataclass(frozen=True)
class ForgeryNet(Reader):
    """Images of ForgeryNet [1], one line each: ``<name> <2-way> <3-way> <16-way>``.

    [1] He et al., 2021, arXiv:2103.05630

    Args:
        index: Label lists of images.
        root: Folder of the images; the longest end of each name that exists below it counts.
        split: Split of all images.
        group_by: What an image belongs to: its own file, or its folder, where a folder holds the frames of one clip.
        check_files: Whether images that do not exist are left out; without it names are taken as they are written.
    """

    index: list[str]
    root: str
    split: Literal["train", "val", "test"] | None = None
    group_by: Literal["file", "folder"] = "file"
    check_files: bool = True

    def read(self) -> FrameTable:
        """Return the images of all lists."""
        root = existing_folder(self.root, "ForgeryNet")
        disk, rows, skipped = DiskIndex(root), [], []
        for listed in self.index:
            file = existing_file(listed, "The ForgeryNet list", "index")
            for number, line in enumerate(_lines(file)):
                if not line.strip():
                    continue
                name, method = _parse(line, file, number)
                path = disk.find(name) if self.check_files else "/".join(part for part in split_path(name) if part)
                if path is None:
                    skipped.append(Skipped(name, "file missing"))
                    continue
                unit = posixpath.dirname(path) or "." if self.group_by == "folder" else posixpath.splitext(path)[0]
                rows.append(
                    {
                        "path": path,
                        "label": REAL if method == REAL_METHOD else FAKE,
                        "method": method,
                        "source": "forgerynet",
                        "group": f"forgerynet/{unit}",
                        "split": self.split or "",
                    }
                )
        where = ", ".join(self.index)
        if not rows:
            example = f", e.g. {skipped[0].entry}" if skipped else ""
            raise FrameTableError(
                f"none of its images exists below '{root}'{example}", file=where, fix="Correct 'root'"
            )
        return FrameTable(check_frame(pd.DataFrame(rows), where), root, skipped)


def _lines(file: Path) -> list[str]:
    try:
        return [line.removesuffix("\r") for line in file.read_text(encoding="utf-8-sig").split("\n")]
    except OSError as error:
        raise FrameTableError(f"cannot be read ({error.strerror})", file=file, fix="Allow reading it") from None
    except UnicodeDecodeError as error:
        raise FrameTableError(f"not a text file ({error})", file=file, fix="Save it as UTF-8") from None


def _parse(line: str, file: Path, row: int) -> tuple[str, str]:
    """Return name and method of one line."""
    parts = line.rsplit(maxsplit=3)
    if len(parts) != 4 or not all(part.isdecimal() and len(part) <= 3 for part in parts[1:]):
        raise FrameTableError(
            f"expected '<name> <2-way> <3-way> <16-way>', found {line[:200]!r}",
            file=file,
            row=row,
            fix="Correct the line",
        )
    if parts[0].split()[0].isdecimal() and len(parts[0].split()) >= 2:
        raise FrameTableError(
            "this is a line of a video list (segments before the classes)",
            file=file,
            row=row,
            fix="Extract frames, and name the image lists",
        )
    two, three, sixteen = (int(part) for part in parts[1:])
    if sixteen >= len(METHODS) or two != (sixteen > 0) or (three > 0) != (sixteen > 0):
        raise FrameTableError(
            f"the classes {two} {three} {sixteen} contradict each other (0 is real in all three)",
            file=file,
            row=row,
            fix="Correct the line",
        )
    return parts[0], METHODS[sixteen]
