"""Leaks between the splits of a frame table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from continual_df.data.file_hashes import hash_shared_sizes
from continual_df.data.file_pool import Progress
from continual_df.data.frame_table import FrameTable
from continual_df.data.verify import changed_rows, stored_hashes
from continual_df.labels import FAKE

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: What was looked for.
        status: ``not checked`` wherever a row lacked what the check needs and nothing was found: never ``ok`` then.
        detail: One clause on the finding, or on what is missing.
        examples: Some of what was found.
    """

    name: str
    status: Literal["ok", "leak", "changed", "unreadable", "not checked"]
    detail: str
    examples: tuple[str, ...] = ()


def check_leaks(table: FrameTable, *, hashes: bool = True, progress: Progress | None = None) -> list[Check]:
    """Return the result of every check.

    Args:
        table: Frame table; nothing is checked where it has no ``split``.
        hashes: Whether the files' bytes are compared; only those of equal size in different splits are read.
        progress: Called with (files read, files to read).
    """
    frame = table.frame
    found = [check_groups(frame), check_identities(frame), check_swaps(frame)]
    name = "identical files in two splits"
    if not hashes:
        found.append(Check(name, "not checked", "switched off"))
    elif not _has(frame, "split").any():
        found.append(_unchecked(name, "split", frame, ~_has(frame, "split")))
    else:
        found.append(check_hashes(frame.assign(hash=hash_shared_sizes(table, progress))))
    return [*found, check_validation(frame)]


def check_groups(frame: pd.DataFrame) -> Check:
    """Look for groups that stand in two splits."""
    return _straddling(frame, "group", "a group in two splits", "group")


def check_identities(frame: pd.DataFrame) -> Check:
    """Look for identities (targets or donors) that stand in two splits."""
    name = "an identity in two splits"
    if "identity" not in frame.columns:
        return _unchecked(name, "identity", frame, ~_has(frame, "identity"))
    people = (
        frame[[column for column in ("split",) if column in frame.columns]]
        .assign(person=frame["identity"].fillna("").str.split("|"))
        .explode("person", ignore_index=True)
    )
    shown = _straddling(people, "person", name, "identity")
    missing = ~_has(frame, "identity")
    return _unless_missing(shown, frame, "identity", missing)


def check_swaps(frame: pd.DataFrame) -> Check:
    """Look for swaps in train or val whose target or donor also appears in the test split.

    A fake is a swap where its ``identity`` names two people; `check_identities` includes these leaks, this check says
    which method carries them.
    """
    name = "a swap in train or val with a parent in test"
    split, known = _has(frame, "split"), _has(frame, "identity")
    if not (split & known).any():
        return _unchecked(name, *(("split", frame, ~split) if not split.any() else ("identity", frame, ~known)))
    rows = frame[split & known]
    tested = {person for item in rows.loc[rows["split"] == "test", "identity"].unique() for person in item.split("|")}
    swaps = rows[(rows["label"] == FAKE) & rows["identity"].str.contains("|", regex=False) & (rows["split"] != "test")]
    parents = swaps["identity"].map({item: tested & set(item.split("|")) for item in swaps["identity"].unique()})
    leaking = swaps[parents.map(bool).astype(bool)] if len(swaps) else swaps
    if leaking.empty:
        return _unless_missing(Check(name, "ok", f"{len(swaps)} swaps"), frame, "identity", ~known)
    counts = leaking.groupby("method").size()
    detail = f"{len(leaking)} images: " + ", ".join(f"{method} {count}" for method, count in counts.items())
    examples = (
        f"{path} ({where}): {', '.join(sorted(parents[index]))} in test"
        for index, path, where in leaking[["path", "split"]].itertuples()
    )
    return Check(name, "leak", detail, _some(examples))


def check_hashes(frame: pd.DataFrame) -> Check:
    """Look for files with the same ``hash`` in two splits; an empty hash means that no file could equal this one."""
    name = "identical files in two splits"
    if "hash" not in frame.columns:
        return _unchecked(name, "hash", frame, ~_has(frame, "hash"))
    rows = frame[_has(frame, "split") & _has(frame, "hash")]
    same = rows[rows.groupby("hash")["split"].transform("nunique") > 1]
    if same.empty:
        return _unless_missing(Check(name, "ok", f"{len(frame)} files"), frame, "split", ~_has(frame, "split"))
    examples = (
        " = ".join(f"{path} ({split})" for path, split in part[["path", "split"]].itertuples(index=False))
        for _, part in same.groupby("hash", sort=False)
    )
    return Check(name, "leak", f"{len(same)} files with {same['hash'].nunique()} contents", _some(examples))


def check_changed(frame: pd.DataFrame, read: pd.Series) -> Check:
    """Look for rows whose ``hash`` is not the one that was ``read`` just now; an empty one was not readable."""
    name = "files are those that were hashed"
    stored = stored_hashes(frame)
    if not (stored != "").any():
        return _unchecked(name, "hash", frame, stored == "")
    changed = changed_rows(stored, read)
    if changed.any():
        detail = f"{int(changed.sum())} of {int((stored != '').sum())} changed"
        return Check(name, "changed", detail, _some(frame.loc[changed, "path"]))
    return _unless_missing(Check(name, "ok", f"{len(frame)} files"), frame, "hash", stored == "")


def check_validation(frame: pd.DataFrame) -> Check:
    """Look for a validation split that is the test split: the same groups on both sides."""
    name = "val is test"
    split = _has(frame, "split")
    val, test = (
        set(frame.loc[split & (frame["split"] == part), "group"]) if split.any() else set() for part in ("val", "test")
    )
    if not val or not test:
        return Check(name, "not checked", f"no row in {'val' if not val else 'test'}")
    if val == test:
        return Check(name, "leak", f"both hold the same {len(val)} groups", _some(sorted(val)))
    return _unless_missing(Check(name, "ok", "their groups differ"), frame, "split", ~split)


def _has(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return where ``column`` is filled."""
    if column not in frame.columns:
        return pd.Series(False, index=frame.index)
    return frame[column].notna() & (frame[column] != "")


def _straddling(frame: pd.DataFrame, column: str, name: str, noun: str) -> Check:
    split = _has(frame, "split")
    rows = frame[split & _has(frame, column)]
    if rows.empty:
        return _unchecked(name, *(("split", frame, ~split) if not split.any() else (noun, frame, ~_has(frame, column))))
    sides = rows[[column, "split"]].drop_duplicates().sort_values(["split"])
    leaking = sides[sides.duplicated(column, keep=False)].groupby(column)["split"].agg(", ".join)
    num = sides[column].nunique()
    if leaking.empty:
        return _unless_missing(Check(name, "ok", f"{num} looked at"), frame, "split", ~split)
    return Check(name, "leak", f"{len(leaking)} of {num}", _some(f"{key} in {value}" for key, value in leaking.items()))


def _unchecked(name: str, column: str, frame: pd.DataFrame, missing: pd.Series) -> Check:
    return Check(name, "not checked", f"{column} missing in {int(missing.sum())} of {len(frame)} rows")


def _unless_missing(check: Check, frame: pd.DataFrame, column: str, missing: pd.Series) -> Check:
    """Return ``check``, or that it could not be made for the rows where ``column`` is ``missing``."""
    if check.status != "ok" or not missing.any():
        return check
    unchecked = _unchecked(check.name, column, frame, missing)
    return Check(check.name, "not checked", f"{unchecked.detail}; no leak among the others")


def _some(examples: Iterable[str]) -> tuple[str, ...]:
    return tuple(example for example, _ in zip(examples, range(MAX_EXAMPLES), strict=False))
