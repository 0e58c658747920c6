"""CSV and Parquet of any bytes: a table of bounded size, or an error that names the place."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from continual_df.errors import FrameTableError

MAX_CELLS = 1 << 28
"""Rows times columns of the largest table; 16 million images with 16 columns."""

MAX_TEXT = 1 << 32
"""Bytes of all text in the largest Parquet table; a small file can stand for a terabyte."""


def read_csv(file: Path) -> pd.DataFrame:
    """Return the CSV in ``file``, all columns text; a shorter row's last fields are empty.

    Empty lines and columns without a name are passed over.

    Raises:
        FrameTableError: If the file cannot be read, is no UTF-8 CSV, is too large, names a column twice, or a row has
            more fields than the first.
    """
    try:
        with file.open("rb") as opened:
            lines = 1 + sum(part.count(b"\n") + part.count(b"\r") for part in iter(lambda: opened.read(1 << 20), b""))
        columns = pd.read_csv(file, header=None, dtype=str, keep_default_na=False, nrows=1).iloc[0].tolist()
        _refuse_size(lines, len(columns), file)
        # the header is read as a row: else a row with one field more would turn the first column into an index
        frame = pd.read_csv(file, header=None, dtype=str, keep_default_na=False)
    except OSError as error:
        raise _closed(file, error) from None
    except (ValueError, MemoryError) as error:  # ParserError, EmptyDataError, UnicodeDecodeError
        reason = " ".join(str(error).replace("Error tokenizing data. C error: ", "").split())
        raise FrameTableError(f"not a CSV file ({reason})", file=file, fix="Save it as UTF-8 CSV") from None
    twice = next((name for place, name in enumerate(columns) if name and name in columns[:place]), None)
    if twice is not None:
        raise FrameTableError("the column stands there twice", file=file, column=twice[:80], fix="Leave one out")
    frame = frame.iloc[1:].reset_index(drop=True)
    frame.columns = pd.Index(columns)
    return frame.loc[:, [name != "" for name in columns]]


def read_parquet(file: Path) -> tuple[pd.DataFrame, dict[bytes, bytes]]:
    """Return the Parquet table in ``file``, and the notes in its schema.

    Only flat columns are read into memory as they are declared: pandas' own notes are passed over, and nothing in the
    file is ever executed or unpickled.

    Raises:
        FrameTableError: If the file cannot be read, is no Parquet, is too large, or a column is nested.
    """
    try:
        with pyarrow.parquet.ParquetFile(file) as opened:
            schema, rows = opened.schema_arrow, opened.metadata.num_rows
        for field in schema:
            if pyarrow.types.is_nested(field.type):
                raise FrameTableError(
                    f"the column holds {str(field.type)[:80]}, not one value a row",
                    file=file,
                    column=field.name,
                    fix="Leave it out",
                )
        _refuse_size(rows, len(schema), file)
        texts = [field.name for field in schema if _is_text(field.type)]
        # each text once and its number by row, so that the size is known before a million copies are made
        with pyarrow.parquet.ParquetFile(file, read_dictionary=texts) as opened:
            table = opened.read()
        table.validate(full=True)  # UTF-8, numbers in range
        _refuse_text(table, file)
        plain = [
            column.cast(column.type.value_type) if pyarrow.types.is_dictionary(column.type) else column
            for column in table.columns
        ]
        frame = pyarrow.table(plain, names=table.column_names).to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        if isinstance(error, PermissionError):
            raise _closed(file, error) from None
        raise FrameTableError(f"not a Parquet file ({_short(error)})", file=file, fix="Build the table again") from None
    return frame, schema.metadata or {}


def _is_text(kind: pyarrow.DataType) -> bool:
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind) or pyarrow.types.is_binary(kind))


def _refuse_text(table: pyarrow.Table, file: Path) -> None:
    size = 0
    for column in table.columns:
        for chunk in column.chunks if pyarrow.types.is_dictionary(column.type) else ():
            if _is_text(chunk.type.value_type):
                length = pyarrow.compute.binary_length(chunk.dictionary).cast(pyarrow.int64())
                size += pyarrow.compute.sum(length.take(chunk.indices)).as_py() or 0
    if size > MAX_TEXT:
        raise FrameTableError(
            f"its text is {size} bytes long, more than the {MAX_TEXT} allowed", file=file, fix="Split the table"
        )


def _refuse_size(rows: int, columns: int, file: Path) -> None:
    if rows * columns > MAX_CELLS:
        raise FrameTableError(
            f"{rows} rows of {columns} columns are more than the {MAX_CELLS} cells allowed",
            file=file,
            fix="Split the table, or leave out columns",
        )


def _closed(file: Path, error: OSError) -> FrameTableError:
    return FrameTableError(f"cannot be read ({error.strerror})", file=file, fix="Allow reading it")


def _short(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error))[:300]
