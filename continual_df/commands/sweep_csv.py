"""The rows of finished runs in a CSV file that outlives them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from continual_df.commands.sweep_file import Cell
from continual_df.errors import WriteError
from continual_df.evaluation.run_summary import Row, format_summaries, read_summaries, run_summary
from continual_df.files import renamed

Key = tuple[str, str, int]
"""Stream, method and seed, which name a row."""


def key_of(cell: Cell) -> Key:
    """Return what names the row of ``cell``."""
    return cell.stream, cell.method, cell.seed


def row_of(cell: Cell) -> Row:
    """Return the row of the finished run ``cell``, under the names that its sweep gives stream and method.

    Raises:
        RunFolderError: If the run is not finished or broken.
    """
    named: Row = {"stream": cell.stream, "method": cell.method, "seed": cell.seed, "run": cell.name}
    return {**run_summary(cell.folder), **named}


def recorded(file: Path) -> dict[Key, Row]:
    """Return the rows of ``file`` by what names them; none where there is no file.

    Raises:
        RunFolderError: If the file is broken.
    """
    rows = read_summaries(file) if file.exists() else []
    return {(str(row["stream"]), str(row["method"]), int(row["seed"] or 0)): row for row in rows}


def is_of_run(row: Row | None, cell: Cell) -> bool:
    """Return whether ``row`` is of the very run in the folder of ``cell``: no two took the same time."""
    return row is not None and row["train_seconds"] == row_of(cell)["train_seconds"]


def record(file: Path, rows: list[Row]) -> None:
    """Put ``rows`` into ``file``, in place of those of the same stream, method and seed; sorted by these.

    Several processes may do so at once.

    Raises:
        RunFolderError: If the file is broken.
        WriteError: If it cannot be written.
    """
    with _locked(file):
        found = recorded(file)
        found |= {(str(row["stream"]), str(row["method"]), int(row["seed"] or 0)): row for row in rows}
        with renamed(file) as partial:
            partial.write_text(format_summaries([found[key] for key in sorted(found)]), encoding="utf-8")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Wait until no other process changes ``file``, and keep it so."""
    path = file.with_name(f".{file.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise WriteError(path, error) from error
    with lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield
