"""The frame table: one row per image, checked once, at the door."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet

from continual_df.data.file_names import below, is_file, is_folder, is_text
from continual_df.data.table_bytes import read_csv, read_parquet
from continual_df.errors import DatasetNotFoundError, FrameTableError
from continual_df.files import renamed
from continual_df.labels import FAKE, REAL, REAL_METHOD

REQUIRED = ("path", "label", "method", "source", "group")
OPTIONAL = ("video", "identity", "split", "mask", "hash")
SPLITS = ("train", "val", "test")
DEV_TEST = "dev_test"
"""A second test split, for whoever compares methods before the last test; a table may carry it."""

TABLE_SPLITS = (*SPLITS, DEV_TEST)
_ODD = r"(?:^|/)\.{0,2}(?:/|$)"
"""Paths that are absolute, or have an empty part, ``.`` or ``..``."""

_AGREED = ("label", "method", "source", "group", "identity", "split", "mask", "hash")
"""What two tables that list the same file must agree on; the name of its video may carry the name of the list."""


class Skipped(NamedTuple):
    """One entry that a reader left out, and why."""

    entry: str
    reason: str


@dataclass
class FrameTable:
    """Frames of one or more data sets and what was left out of them.

    Attributes:
        frame: One row per image; the index is 0..N-1 and is the key ``sample``. Text columns hold ``str``, never NaN;
            a missing optional value is the empty string.
        root: Folder to which ``path`` and ``mask`` are relative.
        skipped: Entries that were left out while reading.
    """

    frame: pd.DataFrame
    root: Path
    skipped: list[Skipped] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.frame)

    def skipped_by_reason(self) -> dict[str, int]:
        """Return how many entries were left out, by reason."""
        return dict(Counter(item.reason for item in self.skipped))


def check_frame(frame: pd.DataFrame, file: Path | str, root: Path | None = None) -> pd.DataFrame:
    """Return ``frame`` with clean dtypes, or refuse it.

    Required columns are `REQUIRED`; `OPTIONAL` ones and any others are kept. ``label`` is 0 or 1, and 0 exactly where
    ``method`` is ``real``, except for controls (``null_*``), which are real images under a name of their own.

    ``path`` and ``mask`` come out relative to the root, with ``/`` and without ``.`` and ``..``, and never lead out of
    it by their names. Links below the root are followed wherever they point: data sets are put together by them.

    Args:
        frame: Candidate rows.
        file: Where they came from, for messages.
        root: Folder below which absolute paths may lie; without it they are refused.

    Raises:
        FrameTableError: With file, row, column and the fix.
    """
    for column in REQUIRED:
        if column not in frame.columns:
            raise FrameTableError(
                f"the column is missing (found: {', '.join(map(str, frame.columns))[:300] or 'none'})",
                file=file,
                column=column,
                fix=f"A frame table needs {', '.join(REQUIRED)}",
            )
    if frame.columns.has_duplicates:
        column = str(frame.columns[frame.columns.duplicated()][0])
        raise FrameTableError("the column stands there twice", file=file, column=column, fix="Leave one out")
    frame = frame.reset_index(drop=True).copy()

    def refuse(wrong: np.ndarray, column: str, problem: str, fix: str) -> None:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            found = ascii(frame.loc[row, column])[:200]
            more = f" (and {int(wrong.sum()) - 1} more rows)" if wrong.sum() > 1 else ""
            raise FrameTableError(f"{problem}, found {found}{more}", file=file, row=row, column=column, fix=fix)

    for column in [c for c in (*REQUIRED, *OPTIONAL) if c in frame.columns]:
        if column == "label" and pd.api.types.is_numeric_dtype(frame[column]):
            continue
        if isinstance(frame[column].dtype, pd.StringDtype) and frame[column].dtype.storage == "pyarrow":
            frame[column] = frame[column].fillna("")  # what Arrow holds is text
            continue
        values = frame[column].astype(object).where(frame[column].notna(), "")
        kinds = set(map(type, values))
        if not kinds <= {str, int, float, bool}:
            odd = [not isinstance(value, str | int | float | np.number) for value in values]
            refuse(np.array(odd), column, "text or a number is expected", "Correct the row")
        texts = list(values) if kinds == {str} else [str(value) for value in values]
        if not "".join(texts).isascii():
            broken = [not is_text(text) for text in texts]
            refuse(np.array(broken), column, "half a surrogate pair is no text", "Write the name's own letters")
        if column != "label":
            frame[column] = pd.Series(texts, index=frame.index, dtype=str)
    label = frame["label"]
    if label.dtype == object:  # to_numeric raises on whole numbers beyond floats
        label = label.map(lambda value: None if isinstance(value, int) and abs(value) > 1 else value)
    label = pd.to_numeric(label, errors="coerce")
    refuse(~label.isin([REAL, FAKE]).to_numpy(), "label", "a label is 0 (real) or 1 (fake)", "Correct the row")
    frame["label"] = label.astype("int64")
    for column in [c for c in ("path", "mask") if c in frame.columns]:
        odd_paths = frame[column].str.contains(_ODD, regex=True).to_numpy(dtype=bool)
        if odd_paths.any():
            frame.loc[odd_paths, column] = [below(path, root) for path in frame.loc[odd_paths, column]]
        outside = frame[column].str.contains(r"^/|^\.{1,2}$|^\.\./|\x00", regex=True)
        refuse(
            outside.to_numpy(dtype=bool),
            column,
            f"the path does not lead below the root '{root or '.'}'",
            "Write it relative to the root, or set 'root' to a folder above it",
        )
    for column in ("path", "method", "source", "group"):
        refuse((frame[column] == "").to_numpy(), column, "the value must not be empty", "Fill it in")
    method, fake = frame["method"], frame["label"] == FAKE
    refuse((fake & (method == REAL_METHOD)).to_numpy(), "method", "a fake needs its method's name", "Name the method")
    refuse(
        (~fake & (method != REAL_METHOD) & ~method.str.startswith("null_")).to_numpy(),
        "method",
        "label 0 goes with method 'real' or a control 'null_*'",
        "Set method to 'real' or label to 1",
    )
    if "split" in frame.columns:
        refuse(
            ~frame["split"].isin(("", *TABLE_SPLITS)).to_numpy(),
            "split",
            f"a split is one of {TABLE_SPLITS}",
            "Correct the row",
        )
    duplicate = frame.duplicated(["path"]).to_numpy()
    refuse(duplicate, "path", "each image stands in one row only", "Remove the second row; tasks share images by name")
    return frame


def empty_frame() -> pd.DataFrame:
    """Return a frame table without rows."""
    return pd.DataFrame({column: pd.Series(dtype="int64" if column == "label" else object) for column in REQUIRED})


def concat_tables(tables: list[FrameTable]) -> FrameTable:
    """Return one table over the common parent folder of all roots; rows keep their order.

    A file that several tables list (the reals of one data set beside each of its methods) is kept once and counted in
    ``skipped``, and its clips become one video.

    Raises:
        FrameTableError: If two tables contradict each other about a file.
    """
    if len(tables) == 1:
        return tables[0]
    roots = [table.root.resolve() if ".." in table.root.parts else table.root.absolute() for table in tables]
    root = Path(os.path.commonpath(roots))
    frames = []
    for table, own in zip(tables, roots, strict=True):
        prefix = "" if own == root else f"{own.relative_to(root).as_posix()}/"
        frame = table.frame.copy()
        for column in [c for c in ("path", "mask") if c in frame.columns]:
            frame[column] = [prefix + value if value else "" for value in frame[column].fillna("")]
        frames.append(frame)
    frame, again = _merge_listed_twice(pd.concat(frames, ignore_index=True), root)
    return FrameTable(check_frame(frame, root), root, [item for table in tables for item in table.skipped] + again)


def _merge_listed_twice(frame: pd.DataFrame, root: Path) -> tuple[pd.DataFrame, list[Skipped]]:
    """Return ``frame`` with each path once, and what was left out; where one row is silent, another may speak."""
    twice = frame["path"].duplicated(keep=False)
    if not twice.any():
        return frame, []
    shared = frame[twice].replace("", None)  # None: with NaN, pandas 2 warns that it guesses a new type
    for column in [c for c in _AGREED if c in shared.columns]:
        differs = shared.groupby("path", sort=False)[column].nunique() > 1
        if differs.any():
            path = differs.idxmax()
            values = " and ".join(repr(value) for value in shared.loc[shared["path"] == path, column].dropna().unique())
            more = f" (and {int(differs.sum()) - 1} more files)" if differs.sum() > 1 else ""
            raise FrameTableError(
                f"two tables list '{path}' with different values, {values}{more}",
                file=root,
                column=column,
                fix="Make them agree, or leave the file out of one",
            )
    first = shared.groupby("path", sort=False).first().reset_index()  # the first value that is there, column by column
    kept = frame[~frame["path"].duplicated()].reset_index(drop=True)
    place = kept.index[kept["path"].isin(first["path"])]
    kept.loc[place, first.columns] = first.set_axis(place)
    if "video" in kept.columns:
        names = shared[["video"]].assign(first=shared.groupby("path")["video"].transform("first")).dropna()
        kept["video"] = kept["video"].replace(dict(zip(names["video"], names["first"], strict=True)))
    left_out = frame.loc[frame["path"].duplicated(), "path"]
    return kept, [Skipped(str(path), "listed by two tables (kept once)") for path in left_out]


def write_table(table: FrameTable, path: Path) -> None:
    """Write ``table`` as Parquet, root and skipped entries in the schema's metadata, under a temporary name first."""
    arrow = pyarrow.Table.from_pandas(table.frame, preserve_index=False)
    root = os.path.relpath(table.root.absolute(), path.parent.absolute())
    absolute = str(table.root.absolute())
    own = {b"root": absolute.encode(), b"relative_root": root.encode(), b"skipped": json.dumps(table.skipped).encode()}
    with renamed(path) as partial:
        pyarrow.parquet.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **own}), partial)


def read_table(path: Path, root: Path | None = None) -> FrameTable:
    """Read a frame table from CSV or Parquet.

    Args:
        path: The file, ``.csv`` or ``.parquet``.
        root: Folder of the images; by default the one stored in a Parquet file (absolute, or relative to the file if
            both were moved), else the file's own folder.

    Raises:
        DatasetNotFoundError: If the file does not exist.
        FrameTableError: If it is no frame table.
    """
    if not is_file(path):
        raise DatasetNotFoundError(
            "The frame table", path, "Check the path, or make one with 'continual-df data build'."
        )
    stored = path.parent
    skipped: list[Skipped] = []
    if path.suffix == ".parquet":
        frame, notes = read_parquet(path)
        stored, skipped = _stored(notes, path)
    elif path.suffix == ".csv":
        frame = read_csv(path)
    else:
        raise FrameTableError(f"the ending '{path.suffix}' is not known", file=path, fix="Use .csv or .parquet")
    return FrameTable(check_frame(frame, path, root or stored), root or stored, skipped)


def _stored(notes: dict[bytes, bytes], path: Path) -> tuple[Path, list[Skipped]]:
    """Return root and skipped entries that `write_table` noted in the table at ``path``."""
    try:
        root = path.parent
        if b"root" in notes:
            absolute = Path(notes[b"root"].decode())
            root = absolute if is_folder(absolute) else path.parent / notes[b"relative_root"].decode()
        skipped = [Skipped(str(entry), str(reason)) for entry, reason in json.loads(notes.get(b"skipped", b"[]"))]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FrameTableError(
            f"its notes of root and skipped entries are damaged ({error})", file=path, fix="Build the table again"
        ) from None
    return root, skipped
