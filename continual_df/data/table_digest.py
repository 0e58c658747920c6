"""A digest of a whole frame table, to be kept where whoever can change the data cannot.

A hash a file says nothing of a changed label, of a row that was added with its file, or of one that was taken away:
whoever can write the table writes the matching hash too.
"""

from __future__ import annotations

import hashlib

import pandas as pd

from continual_df.data.frame_table import OPTIONAL, REQUIRED, FrameTable
from continual_df.errors import FrameTableError

COLUMNS = (*REQUIRED, *OPTIONAL)


def table_digest(frame: pd.DataFrame) -> str:
    """Return a digest (32 hex digits) of all rows in all columns that this program reads.

    The order of rows, a missing optional column against an empty one, and the table's own columns make no difference.
    """
    columns = [frame[c] if c in frame.columns else pd.Series("", index=frame.index) for c in COLUMNS]
    digest = hashlib.blake2b(digest_size=16)
    # ascii() is unambiguous, whatever characters a value holds
    for row in sorted(ascii(row) for row in zip(*(column.tolist() for column in columns), strict=True)):
        digest.update(f"{row}\n".encode())
    return digest.hexdigest()


def refuse_other_table(table: FrameTable, expected: str) -> None:
    """Refuse a table whose digest is not ``expected``.

    Raises:
        FrameTableError: With both digests.
    """
    found = table_digest(table.frame)
    if found != expected:
        raise FrameTableError(
            f"the tables' digest is {found}, not {expected} (data.init_args.table_digest): rows, labels, groups, splits "
            "or hashes changed",
            file=table.root,
            fix="Restore the tables; or, if you changed them yourself, take the new digest",
        )
