"""The streams of NEVIS'22, for those who hold its data sets in folders.

Bornschein et al., NEVIS'22: a stream of 100 tasks sampled from 30 years of computer vision research, 2022, arXiv:2211.11747.
``nevis_stream.csv`` is the stream table of the released code (google-deepmind/dm_nevis): which data set comes when, under
which name it is stored (``folder``), whether it is single-label or multi-label, and for how many classes, where the code or the data
set's definition says so.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from continual_df.data.readers.class_folders import SPLIT_FOLDERS, has_splits
from continual_df.data.readers.reader import existing_folder
from continual_df.errors import ConfigError

FILE = Path(__file__).with_name("nevis_stream.csv")

FRACTIONS = (0.68, 0.12, 0.2)
"""Train with dev_test, val and test of data sets without splits."""

DEV_TEST_FRACTION = 3 / 17
"""Of what validation leaves, so that 56/12/12/20 are made of data sets without splits, and 70/15/15 of official train sets."""

VAL_FRACTION = 0.15
IMAGE_SIZE = 64


class Event(NamedTuple):
    """One event of a stream: a data set that is learnt and then tested on.

    Attributes:
        position: Place in the stream, from 0; a data set that comes again has another.
        year: Year of the publication from which the task was taken.
        dataset: Name of the data set.
        folder: Name of its folder.
        kind: Whether an image has one label or several.
        num_classes: Number of labels, None where it is not known.
    """

    position: int
    year: int
    dataset: str
    folder: str
    kind: Literal["single-label", "multi-label"]
    num_classes: int | None


class Found(NamedTuple):
    """What is there of a stream.

    Attributes:
        present: Events whose data set is there, with its folder.
        absent: Events whose data set is not.
        multi_label: Events that folders of classes cannot hold.
    """

    present: list[tuple[Event, Path]]
    absent: list[Event]
    multi_label: list[Event]


@cache
def streams() -> dict[str, list[Event]]:
    """Return the events of the streams ``FULL``, ``SHORT`` and ``TINY``, in order."""
    found: dict[str, list[Event]] = {}
    with FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind: Literal["single-label", "multi-label"] = (
                "multi-label" if row["kind"] == "multi-label" else "single-label"
            )
            num = int(row["num_classes"]) if row["num_classes"] else None
            event = Event(int(row["event"]), int(row["year"]), row["dataset"], row["folder"], kind, num)
            found.setdefault(row["stream"], []).append(event)
    return found


def find_events(events: Sequence[Event], root: str) -> Found:
    """Return which of ``events`` have their data set below ``root``, in a folder of its ``folder`` or ``dataset``, in any case.

    Raises:
        DatasetNotFoundError: If ``root`` is no folder.
        ConfigError: If no single-label event is there.
    """
    parent = existing_folder(root, "the data sets of NEVIS")
    there = {path.name.casefold(): path for path in sorted(parent.iterdir()) if path.is_dir()}
    found = Found([], [], [])
    for event in events:
        path = there.get(event.folder.casefold()) or there.get(event.dataset.casefold())
        if event.kind == "multi-label":
            found.multi_label.append(event)
        elif path is None:
            found.absent.append(event)
        else:
            found.present.append((event, path))
    if not found.present:
        raise ConfigError(
            f"No single-label data set of the stream is in '{root}'. Each has a folder there, such as "
            f"'{found.absent[0].folder if found.absent else 'mnist'}', with its classes in <class>/ or <split>/<class>/."
        )
    return found


def class_folders(root: Path) -> tuple[set[str], set[str]]:
    """Return the classes of the data set in ``root``, and the splits for which it has folders."""
    first = {path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if not has_splits(root, {path.name for path in first}):
        return {path.name for path in first}, set()
    classes = {path.name for split in first for path in split.iterdir() if path.is_dir()}
    return classes, {SPLIT_FOLDERS[path.name.lower()] for path in first}


def stream_settings(stream: str, present: Sequence[tuple[Event, Path]]) -> dict[str, Any]:
    """Return the settings of a run on the events that are ``present``, but for the method.

    Splits are shared as the released code does; dev_test is set aside, so that ``evaluate_on: dev_test`` only needs to be added.
    """
    folders = {event.folder: path for event, path in present}
    own = [splits for splits in (class_folders(path)[1] for path in folders.values()) if splits]
    return {
        "run_dir": f"runs/nevis/{stream.lower()}",
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "name": f"NEVIS {stream}",
                "tables": [
                    {"class_path": "ClassFolders", "init_args": {"root": str(path), "name": name}}
                    for name, path in folders.items()
                ],
                "tasks": [{"name": event.dataset, "methods": [f"{event.folder}.*"]} for event, _ in present],
                "reals": "none",
                "fractions": list(FRACTIONS),
                "val_fraction": VAL_FRACTION if any("val" not in splits for splits in own) else 0.0,
                "dev_test_fraction": round(DEV_TEST_FRACTION, 4),
                "image_size": IMAGE_SIZE,
            },
        },
    }
