"""ForensicHub's path lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from continual_df.data.file_names import below
from continual_df.data.frame_table import OPTIONAL, REQUIRED, FrameTable, check_frame
from continual_df.data.json_file import read_json
from continual_df.data.methods import canonical
from continual_df.data.readers.reader import Reader, existing_file, existing_folder
from continual_df.data.readers.table_file import keep_existing
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE, REAL, REAL_METHOD


@dataclass(frozen=True)
class PathList(Reader):
    """A JSON list ``[{"path": ..., "label": 0 or 1}, ...]``; entries may carry other columns of the frame table.

    Args:
        index: The JSON file.
        root: Folder to which the paths are relative; by default the list's own folder.
        method: Method of the fakes that name none; by default the list's name.
        source: Domain of the pixels; by default the list's name.
        split: Split of all images that name none.
        group_by: What an image without ``group`` belongs to: its own file name, or its folder.
        check_files: Whether images that do not exist are left out.
    """

    index: str
    root: str | None = None
    method: str | None = None
    source: str | None = None
    split: Literal["train", "val", "test"] | None = None
    group_by: Literal["file", "folder"] = "file"
    check_files: bool = True

    def read(self) -> FrameTable:
        """Return the list's images in order."""
        file = existing_file(self.index, "The path list", "index")
        root = file.parent if self.root is None else existing_folder(self.root, f"the path list '{file.name}'")
        source = self.source or file.stem
        entries = _entries(file)
        columns = [name for name in (*REQUIRED, *OPTIONAL) if any(name in entry for entry in entries)]
        frame = pd.DataFrame(
            {name: pd.Series([entry.get(name) for entry in entries], dtype=object) for name in columns}
        )
        label = [entry["label"] for entry in entries]
        paths = [below(entry["path"].replace("\\", "/"), root) for entry in entries]
        parents = [Path(path).parent.as_posix() if self.group_by == "folder" else Path(path).stem for path in paths]
        named = canonical(self.method or file.stem)
        defaults: dict[str, Any] = {
            "method": [REAL_METHOD if value in (REAL, str(REAL)) else named for value in label],
            "source": source,
            "group": [f"{source}/{parent}" for parent in parents],
            "split": self.split or "",
        }
        frame["path"] = paths
        for column, default in defaults.items():
            values = pd.Series(default, index=frame.index, dtype=object)
            given = frame[column] if column in frame.columns else pd.Series(index=frame.index, dtype=object)
            frame[column] = given.where(given.notna() & (given != ""), values)
        if named == REAL_METHOD and any(value in (FAKE, str(FAKE)) for value in label):
            raise FrameTableError("the fakes have no method", file=file, column="method", fix="Set 'method'")
        table = FrameTable(check_frame(frame, file, root), root)
        return keep_existing(table, file) if self.check_files else table


def _entries(file: Path) -> list[dict[str, Any]]:
    entries = read_json(file, "Save it as UTF-8 JSON")
    if not isinstance(entries, list) or not entries:
        raise FrameTableError(
            'expected a list of {"path", "label"}',
            file=file,
            row="top level",
            fix="An index that nests classes and splits is for 'DeepfakeBench'",
        )
    for row, entry in enumerate(entries):
        for key in ("path", "label"):
            if not isinstance(entry, dict) or key not in entry:
                raise FrameTableError(f"the entry has no '{key}'", file=file, row=row, column=key, fix="Add it")
        if not isinstance(entry["path"], str):
            raise FrameTableError(
                f"a path is text, found {ascii(entry['path'])[:200]}",
                file=file,
                row=row,
                column="path",
                fix="Correct it",
            )
    return entries
