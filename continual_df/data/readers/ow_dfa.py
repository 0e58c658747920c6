"""The CSV files of the open-world deepfake-attribution benchmark OW-DFA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from continual_df.data.disk import DiskIndex
from continual_df.data.file_names import split_path
from continual_df.data.frame_table import FrameTable, Skipped, check_frame
from continual_df.data.methods import canonical, squeeze
from continual_df.data.readers.reader import Reader, existing_file, existing_folder
from continual_df.data.table_bytes import read_csv
from continual_df.data.video_ids import Scheme, parse_video_id
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE, REAL, REAL_METHOD

DROPPED, LABELLED, UNLABELLED = 0, 1, 2
"""Values of the column ``tag``."""

_SOURCES: dict[str, tuple[str, Scheme]] = {
    "faceforensics": ("ff", "ff"),
    "celebdf": ("cdf", "celebdf"),
    "forgerynet": ("forgerynet", "plain"),
    "dffd": ("dffd", "plain"),
    "forgerynir": ("forgerynir", "plain"),
}


@dataclass(frozen=True)
class OwDfa(Reader):
    """Images of OW-DFA [1] with their ``tag``: 1 labelled, 2 unlabelled, 0 dropped.

    Columns used: ``img_path`` (or ``path``), ``method`` and ``tag``; where present ``image_source`` (domain) and
    ``img_name`` (the video or photo). The files' own ``label`` is a class number, and is not read. A class of the
    benchmark is a pair of method and source: StyleGAN2 is there twice. The CSVs have no splits; the authors split by
    frame, so that frames of one video stand on both sides, where splits made here go by group.

    [1] Sun et al., ICCV 2023, Contrastive pseudo learning for open-world deepfake attribution

    Args:
        index: CSV files.
        root: Folder of the images; the longest end of each path that exists below it counts.
        split: Split of all images.
        keep_dropped: Whether rows with tag 0 are kept.
        strip: Leading part of the paths to drop; then nothing is searched for.
        check_files: Whether images that do not exist are left out; without it paths are taken as they are written.
    """

    index: list[str]
    root: str
    split: Literal["train", "val", "test"] | None = None
    keep_dropped: bool = False
    strip: str | None = None
    check_files: bool = True

    def read(self) -> FrameTable:
        """Return the images of all CSV files; ``tag`` is kept as a column."""
        root = existing_folder(self.root, "OW-DFA")
        disk, frames, skipped = DiskIndex(root), [], list[Skipped]()
        for name in self.index:
            file = existing_file(name, "The OW-DFA file", "index")
            frames.append(self._rows(_read(file), file, disk, skipped))
        frame = pd.concat(frames, ignore_index=True)
        where = ", ".join(self.index)
        if frame.empty:
            example = f", e.g. {skipped[0].entry}" if skipped else ""
            raise FrameTableError(
                f"none of its images exists below '{root}'{example}", file=where, fix="Correct 'root'"
            )
        return FrameTable(check_frame(frame, where), root, skipped)

    def _rows(self, table: pd.DataFrame, file: Path, disk: DiskIndex, skipped: list[Skipped]) -> pd.DataFrame:
        rows = []
        for row, item in enumerate(table.to_dict("records")):
            if item["tag"] not in ("0", "1", "2"):
                raise FrameTableError(
                    f"a tag is 0 (dropped), 1 (labelled) or 2 (unlabelled), found '{item['tag']}'",
                    file=file,
                    row=row,
                    column="tag",
                    fix="Correct the row",
                )
            if item["tag"] == str(DROPPED) and not self.keep_dropped:
                skipped.append(Skipped(item["path"], "tag 0 (dropped by the benchmark)"))
                continue
            path = (
                disk.find(item["path"], self.strip)
                if self.check_files
                else "/".join(part for part in split_path(item["path"], self.strip) if part)
            )
            if path is None:
                skipped.append(Skipped(item["path"], "file missing"))
                continue
            given = item.get("image_source", "")
            source, scheme = _SOURCES.get(squeeze(given), (squeeze(given) or "owdfa", "plain"))
            # its FaceSwap is the graphics-based one of FaceForensics++, not the method of that name in DF40
            method = "faceswap_ff" if squeeze(item["method"]) == "faceswap" else canonical(item["method"])
            video = item.get("img_name") or Path(path).stem
            parsed = parse_video_id(video, scheme)
            rows.append(
                {
                    "path": path,
                    "label": REAL if method == REAL_METHOD else FAKE,
                    "method": method,
                    "source": source,
                    "group": f"{source}/{parsed.target}",
                    "video": f"{source}/{method}/{video}",
                    "identity": "|".join(f"{source}/{person}" for person in parsed.identities),
                    "split": self.split or "",
                    "tag": int(item["tag"]),
                }
            )
        return pd.DataFrame(rows)


def _read(file: Path) -> pd.DataFrame:
    table = read_csv(file)
    if "img_path" in table.columns:
        table = table.drop(columns="path", errors="ignore").rename(columns={"img_path": "path"})
    for column in ("path", "method", "tag"):
        if column not in table.columns:
            raise FrameTableError(
                f"the column is missing (found: {', '.join(table.columns)[:300]})",
                file=file,
                column="img_path" if column == "path" else column,
                fix="OW-DFA files have img_path, method and tag",
            )
    return table
