"""Whether files are still those that were hashed."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Literal

import pandas as pd

from continual_df.data.file_hashes import hash_readable
from continual_df.data.file_pool import Progress
from continual_df.data.frame_table import FrameTable
from continual_df.errors import FrameTableError

ChangedFiles = Literal["refuse", "warn", "ignore"]


def stored_hashes(frame: pd.DataFrame) -> pd.Series:
    """Return the ``hash`` of every row; the empty string where there is none."""
    return frame["hash"] if "hash" in frame.columns else pd.Series("", index=frame.index, dtype=object)


def changed_rows(stored: pd.Series, read: pd.Series) -> pd.Series:
    """Return where a file is not what was hashed: other bytes, or gone (``read`` is empty)."""
    return (stored != "") & (stored != read)


def verify_files(
    table: FrameTable,
    policy: ChangedFiles = "refuse",
    record: bool = False,
    progress: Progress | None = None,
    rows: pd.Series | None = None,
) -> FrameTable:
    """Return ``table`` whose hashes are those of the files as they are now; files with a stored hash are compared.

    So a hash in the table of a run always says what the run has read. Rows without a hash are compared with nothing:
    where others have one, a warning counts them.

    Args:
        table: Frame table.
        policy: What happens where a file changed: ``refuse``, ``warn``, or ``ignore``, which reads nothing and drops
            the stored hashes, as nobody compared them.
        record: Hash the files of all rows, stored hash or not.
        progress: Called with (files read, files to read).
        rows: True where a file may be read; by default everywhere. Other rows have no hash afterwards.

    Raises:
        FrameTableError: If the policy is ``refuse`` and a file changed; with their number and the first of them.
    """
    stored = stored_hashes(table.frame)
    rows = pd.Series(True, index=stored.index) if rows is None else rows
    compared = (stored != "") & rows & (policy != "ignore")
    if not record and not compared.any():
        return dataclasses.replace(table, frame=table.frame.drop(columns="hash", errors="ignore"))
    read = hash_readable(table, compared | (rows & record), progress)
    changed = compared & changed_rows(stored, read)
    if changed.any():
        row = int(changed.idxmax())
        gone = " (it is gone)" if not read[row] else ""
        problem = (
            f"{int(changed.sum())} of {int(compared.sum())} files are not those that were hashed; the first is "
            f"'{table.frame.loc[row, 'path']}'{gone}"
        )
        if policy == "refuse":
            raise FrameTableError(
                problem,
                file=table.root,
                row=row,
                column="hash",
                fix="Restore them; or, if you changed them yourself, hash them again with 'continual-df data build "
                "--hash'; data.init_args.changed_files: warn trains on them as they are",
            )
        warnings.warn(f"{table.root}: {problem}. The run trains on the files as they are.", stacklevel=2)
    bare = rows & ~compared
    if compared.any() and bare.any():
        first = table.frame.loc[bare.idxmax(), "path"]
        warnings.warn(
            f"{table.root}: {int(bare.sum())} of {int(rows.sum())} rows have no hash, so nobody can say whether their files changed; the "
            f"first is '{first}'. 'continual-df data build --hash' hashes all.",
            stacklevel=2,
        )
    return dataclasses.replace(table, frame=table.frame.assign(hash=read))
