"""Whether the files and tables of a run are still those that it has read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from continual_df.audit.subject import Subject
from continual_df.data.check import MAX_EXAMPLES, Check, check_changed
from continual_df.data.frame_table import FrameTable
from continual_df.data.table_changes import COLUMNS, describe_changes
from continual_df.data.tables import load_tables
from continual_df.errors import ConfigError, DatasetNotFoundError, FrameTableError

OWN = ("split", "hash")
"""Columns that a run may make itself; `check_files` compares hashes."""


def check_files(subject: Subject, statistics: pd.DataFrame, unreadable: dict[int, str]) -> list[Check]:
    """Return whether all files can be read, and whether they are those that were hashed.

    Args:
        subject: Stream or table.
        statistics: `file_statistics` by sample.
        unreadable: Reason by sample, of the others.
    """
    name = "files can be read"
    total = len(statistics) + len(unreadable)
    reasons = tuple(list(unreadable.values())[:MAX_EXAMPLES])
    if not unreadable:
        readable = Check(name, "ok", f"{total} files")
    elif statistics.empty:
        return [Check(name, "unreadable", f"none of {total} can, as if the images were elsewhere", reasons)]
    else:
        readable = Check(name, "unreadable", f"{len(unreadable)} of {total}", reasons)
    used = subject.table.frame.loc[subject.samples]
    read = statistics["hash"].reindex(used.index, fill_value="")
    return [readable, check_changed(used, read)]


def check_tables(subject: Subject, config: Path) -> Check:
    """Return whether the tables that ``config`` names still say of every image what the run has stored."""
    name = "tables are those that the run has read"
    try:
        now = load_tables(config)
    except (ConfigError, DatasetNotFoundError, FrameTableError) as error:
        return Check(name, "not checked", str(error))
    left_out = {item.entry for item in subject.table.skipped if item.reason == "unreadable image"}
    kept = now.frame[~now.frame["path"].isin(left_out)].reset_index(drop=True)
    columns = tuple(column for column in COLUMNS if column not in OWN)
    changes = describe_changes(subject.table, FrameTable(kept, now.root), columns)
    return Check(name, "changed", changes) if changes else Check(name, "ok", f"{len(now)} rows")
