"""CSV and Parquet files with the frame table's own columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from continual_df.data.disk import DiskIndex
from continual_df.data.frame_table import FrameTable, Skipped, read_table
from continual_df.data.readers.reader import Reader, existing_folder, home_path
from continual_df.errors import FrameTableError


@dataclass(frozen=True)
class TableFile(Reader):
    """A frame table on disk.

    Args:
        path: The ``.csv`` or ``.parquet`` file.
        root: Folder of the images; by default the one stored in a Parquet file, else the file's own folder.
        where: Rows to keep: column to accepted values, e.g. ``{source: [ffhq], method: [real, sd21]}``.
        check_files: Whether images that do not exist are left out.
    """

    path: str
    root: str | None = None
    where: dict[str, list[str]] | None = None
    check_files: bool = True

    def read(self) -> FrameTable:
        """Return the chosen rows."""
        root = None if self.root is None else existing_folder(self.root, f"the table '{self.path}'")
        table = read_table(home_path(self.path), root)
        frame = table.frame
        for column, accepted in (self.where or {}).items():
            if column not in frame.columns:
                raise FrameTableError(
                    f"'where' names the column '{column}'; the table has {', '.join(frame.columns)}",
                    file=self.path,
                    fix="Correct 'where'",
                )
            frame = frame[frame[column].astype(str).isin([str(value) for value in accepted])]
        if frame.empty:
            raise FrameTableError("no row is left", file=self.path, fix="Widen 'where', or fill the table")
        table = replace(table, frame=frame.reset_index(drop=True))
        return keep_existing(table, self.path) if self.check_files else table


def keep_existing(table: FrameTable, file: Path | str) -> FrameTable:
    """Return ``table`` without the rows whose image does not exist; they are added to its skipped entries.

    Args:
        table: Rows to check.
        file: Where they came from, for messages.

    Raises:
        FrameTableError: If no image exists.
    """
    existing_folder(str(table.root), f"the images of '{file}'")
    disk = DiskIndex(table.root)
    exists = [disk.has(path) for path in table.frame["path"]]
    missing = [
        Skipped(path, "file missing") for path, there in zip(table.frame["path"], exists, strict=True) if not there
    ]
    if len(missing) == len(table):
        raise FrameTableError(
            f"none of its {len(table)} images exists below '{table.root}', e.g. {missing[0].entry}",
            file=file,
            fix="Set 'root' to the folder to which the paths are relative",
        )
    return FrameTable(table.frame[exists].reset_index(drop=True), table.root, [*table.skipped, *missing])
