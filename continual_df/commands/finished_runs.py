"""The finished runs in what the command line names: their folders, or CSV files of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from continual_df.commands.run_folders import find_runs, run_names
from continual_df.errors import RunFolderError
from continual_df.evaluation.run_summary import Row, read_summaries, run_summary, what_is_missing

SAME_RUN = ("stream_hash", "tasks", "recipe", "seed", "final_auc", "train_flops", "train_seconds")
"""Columns in which no two runs agree."""


class Runs(NamedTuple):
    """Finished runs: their rows, the folder of each where it is at hand, what tells it apart, and what was left out."""

    rows: list[Row]
    folders: list[Path | None]
    details: list[str]
    notes: list[str]


def find_finished(named: list[Path]) -> Runs:
    """Return the finished runs in folders and CSV files, each once, and one sentence on what was left out.

    Raises:
        RunFolderError: If there is none, or a file is broken.
    """
    tables = [path for path in named if path.suffix == ".csv" and not path.is_dir()]
    found = find_runs([path for path in named if path not in tables])
    lacking = {run: missing for run in found if (missing := what_is_missing(run))}
    finished = [run for run in found if run not in lacking]
    names = run_names(finished)
    entries: list[tuple[Row, Path | None, str]] = [(run_summary(run), run, names[run]) for run in finished]
    entries += [(row, None, str(row["run"])) for path in tables for row in read_summaries(path)]
    once: dict[tuple[object, ...], tuple[Row, Path | None, str]] = {}
    for row, folder, detail in entries:
        key = tuple(row[column] for column in SAME_RUN)
        if key in once:
            # a sweep's file has its own names for what stands in the folders, and may lack columns of later versions
            known, folder, _ = once[key]
            row = {column: known[column] if value in (None, "") else value for column, value in row.items()}
        once[key] = (row, folder, detail)
    notes = [f"Left out {len(lacking)} of {len(found)} runs, not finished:"] if lacking else []
    notes += [f"  {run}: {missing}" for run, missing in lacking.items()]
    if len(once) < len(entries):
        notes.append(f"{len(entries) - len(once)} of {len(entries)} rows stand there twice, and count once.")
    if not once:
        raise RunFolderError(" ".join(["No run is finished, so there is nothing to compare.", *map(str.strip, notes)]))
    rows, folders, details = zip(*once.values(), strict=True)
    return Runs(list(rows), list(folders), list(details), notes)
