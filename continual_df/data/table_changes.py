"""What differs between a frame table that was stored and the one that is read now."""

from __future__ import annotations

import pandas as pd

from continual_df.data.frame_table import OPTIONAL, REQUIRED, FrameTable

COLUMNS = tuple(column for column in (*REQUIRED, *OPTIONAL) if column != "path")


def describe_changes(stored: FrameTable, now: FrameTable, columns: tuple[str, ...] = COLUMNS) -> str:
    """Return one clause on what differs, with counts and first examples; the empty string where nothing does.

    Rows are matched by path. Order matters, since a row's number is the key of memory and predictions. The roots may
    differ: data may have moved. Hashes are compared where both sides have one.

    Args:
        stored: The table as it was, such as ``frames.parquet`` of a run.
        now: The table as it is.
        columns: Columns to compare.
    """
    before, after = stored.frame.set_index("path"), now.frame.set_index("path")
    found = [
        _listed(before.index.difference(after.index, sort=False), "missing now"),
        _listed(after.index.difference(before.index, sort=False), "new"),
    ]
    both = before.index[before.index.isin(after.index)]
    same_order = both.equals(after.index[after.index.isin(before.index)])
    before, after = before.loc[both], after.loc[both]
    found += [_differing(before, after, column) for column in columns]
    if not same_order:
        found.append("the rows are in another order")
    return "; ".join(part for part in found if part)


def _listed(paths: pd.Index, what: str) -> str:
    if not len(paths):
        return ""
    return f"{_images(len(paths))} {'is' if len(paths) == 1 else 'are'} {what} (the first: '{paths[0]}')"


def _differing(before: pd.DataFrame, after: pd.DataFrame, column: str) -> str:
    old, new = (
        frame[column].astype(object) if column in frame.columns else pd.Series("", index=frame.index, dtype=object)
        for frame in (before, after)
    )
    differs = old != new
    if column == "hash":
        differs &= (old != "") & (new != "")
    if not differs.any():
        return ""
    path = differs.idxmax()
    noun = "content (hash)" if column == "hash" else column
    change = "" if column == "hash" else f": {old[path]!r}, now {new[path]!r}"
    return f"{_images(int(differs.sum()))} changed in {noun} (the first: '{path}'{change})"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
