"""Leaks between the splits of a realised stream, over all its tasks: train of one against test of another, too."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from continual_df.audit.subject import Subject
from continual_df.data.check import (
    MAX_EXAMPLES,
    Check,
    check_groups,
    check_hashes,
    check_identities,
    check_swaps,
    check_validation,
)

SHARED = {"a group in two splits": "group", "identical files in two splits": "hash", "an image in two splits": "path"}
"""Checks for which `Leak` says between which tasks, and the column whose values are shared."""


@dataclass(frozen=True)
class Leak:
    """A check, and between which tasks it found something.

    Attributes:
        check: The result.
        between: (task and split, task and split, shared values), most first; empty where nothing was found, or tasks
            say nothing.
    """

    check: Check
    between: tuple[tuple[str, str, int], ...] = ()


def find_leaks(subject: Subject, statistics: pd.DataFrame) -> list[Leak]:
    """Return the checks of ``continual-df data check`` on the images as the stream uses them.

    Args:
        subject: Stream or table.
        statistics: `file_statistics` by sample; the hashes of the files as they are now come from it.
    """
    rows = subject.rows()
    rows["hash"] = rows["sample"].map(statistics["hash"])
    checks = [
        check_images(rows),
        check_groups(rows),
        check_identities(rows),
        check_swaps(rows),
        check_copies(rows),
        check_validation(rows),
    ]
    return [Leak(check, _between(subject, rows, check)) for check in checks]


def check_images(rows: pd.DataFrame) -> Check:
    """Look for images that one task trains on and another one tests on."""
    name = "an image in two splits"
    split = rows["split"] != ""
    if not split.any():
        return Check(name, "not checked", f"split missing in {len(rows)} of {len(rows)} rows")
    twice = rows[split][rows.loc[split, "sample"].duplicated(keep=False)]
    if twice.empty:
        return Check(name, "ok", f"{rows['sample'].nunique()} looked at")
    places = twice.groupby("path", sort=False)["split"].agg(", ".join)
    examples = tuple(f"{path} in {where}" for path, where in places.iloc[:MAX_EXAMPLES].items())
    return Check(name, "leak", f"{len(places)} of {rows['sample'].nunique()}", examples)


def check_copies(rows: pd.DataFrame) -> Check:
    """Look for files with the same content in two splits; a file that could not be read has no ``hash``."""
    found = check_hashes(rows)
    unread = int(rows["hash"].isna().sum())
    if found.status != "ok" or not unread:
        return found
    detail = f"{unread} of {len(rows)} files could not be read; no leak among the others"
    return Check(found.name, "not checked", detail)


def _between(subject: Subject, rows: pd.DataFrame, check: Check) -> tuple[tuple[str, str, int], ...]:
    """Return how many values of the check's column two (task, split) share, for those of different splits."""
    if check.status != "leak" or not subject.tasks or check.name not in SHARED:
        return ()
    column = SHARED[check.name]
    value = rows.drop_duplicates("sample").set_index("sample")[column]
    places = subject.members.assign(value=subject.members["sample"].map(value)).dropna(subset="value")
    places = places[["task", "split", "value"]].drop_duplicates()
    split_of = places.groupby("value")["split"].transform("nunique")
    places = places[split_of > 1]
    pairs = places.merge(places, on="value", suffixes=("", "_other"))
    pairs = pairs[pairs["split"].map(_ORDER) < pairs["split_other"].map(_ORDER)]
    counts = pairs.groupby(["task", "split", "task_other", "split_other"]).size().sort_values(ascending=False)
    return tuple(
        (_place(subject, task, split), _place(subject, other, where), int(count))
        for (task, split, other, where), count in counts.items()
    )


_ORDER = {"train": 0, "val": 1, "test": 2}


def _place(subject: Subject, task: int, split: str) -> str:
    return f"{split} of {f'task {task + 1} ({subject.tasks[task]})' if task >= 0 else 'what is held out'}"
