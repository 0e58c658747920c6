from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from continual_df.audit.leakage import Leak, find_leaks
from continual_df.audit.subject import Subject, of_run, of_table
from continual_df.data.frame_table import FrameTable
from tests.runs import RunBuilder


def stream(members: list[tuple[int, int, str]], **columns: list[str]) -> Subject:
    """Six images of six groups; who is where is told by ``members`` (sample, task, split)."""
    frame = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(6)],
            "label": [0, 1] * 3,
            "method": ["real", "lia"] * 3,
            "source": "ff",
            "group": list("abcdef"),
            "identity": list("uvwxyz"),
            **columns,
        }
    )
    table = FrameTable(frame, Path())
    return Subject("toy", table, pd.DataFrame(members, columns=["sample", "task", "split"]), ("first", "second"))


CLEAN = [(0, 0, "train"), (1, 0, "val"), (2, 0, "test"), (3, 1, "train"), (4, 1, "val"), (5, 1, "test")]


def audit(subject: Subject, contents: str = "012345") -> dict[str, Leak]:
    statistics = pd.DataFrame({"hash": list(contents)}, index=pd.RangeIndex(6, name="sample"))
    return {leak.check.name: leak for leak in find_leaks(subject, statistics)}


def test_a_clean_stream_has_no_leak() -> None:
    found = audit(stream(CLEAN))
    assert {leak.check.status for leak in found.values()} == {"ok"}
    assert len(found) == 6


def test_an_image_that_one_task_trains_on_and_another_tests_on_is_found() -> None:
    found = audit(stream([*CLEAN, (0, 1, "test")]))["an image in two splits"]
    assert (found.check.status, found.check.detail, found.check.examples) == (
        "leak",
        "1 of 6",
        ("0.png in train, test",),
    )
    assert found.between == (("train of task 1 (first)", "test of task 2 (second)", 1),)


def test_an_image_in_two_tasks_under_one_split_is_no_leak() -> None:
    found = audit(stream([*CLEAN, (0, 1, "train")]))
    assert {leak.check.status for leak in found.values()} == {"ok"}


def test_a_group_in_train_of_one_task_and_test_of_another_is_found_and_placed() -> None:
    found = audit(stream(CLEAN, group=list("abcdea")))["a group in two splits"]
    assert found.check.status == "leak"
    assert found.between == (("train of task 1 (first)", "test of task 2 (second)", 1),)


def test_copies_are_found_by_the_content_of_the_files_as_they_are() -> None:
    found = audit(stream(CLEAN), contents="012343"[::-1])["identical files in two splits"]
    assert found.check.status == "leak"
    assert found.between == (("train of task 1 (first)", "test of task 1 (first)", 1),)


def test_swaps_and_identities_are_looked_at_too() -> None:
    found = audit(stream(CLEAN, identity=["u", "v", "w", "x|w", "y", "z"]))
    assert found["a swap in train or val with a parent in test"].check.status == "leak"
    assert found["an identity in two splits"].check.status == "leak"


def test_unlabelled_training_images_count_as_train_and_held_out_tests_as_test(tmp_path: Path) -> None:
    builder = RunBuilder([["swap"]])
    builder.add("real", 0, "train")
    builder.add("swap", 0, "train")
    builder.add("novel", 0, "unlabelled", group="g9")
    builder.add("novel", -1, "test", group="g9")
    run = builder.write(tmp_path / "run", {1: np.zeros(4)})
    pd.read_parquet(run / "frames.parquet")
    subject = of_run(run)
    statistics = pd.DataFrame({"hash": list("0123")}, index=pd.RangeIndex(4, name="sample"))
    found = {leak.check.name: leak for leak in find_leaks(subject, statistics)}["a group in two splits"]
    assert found.check.status == "leak"
    assert found.between == (("train of task 1 (swap)", "test of what is held out", 1),)


def test_rows_that_no_task_uses_are_not_looked_at() -> None:
    unused = stream(CLEAN[:-1], group=list("abcdea"))
    assert audit(unused)["a group in two splits"].check.status == "ok"


@pytest.mark.parametrize("split", [None, ""])
def test_a_table_without_splits_is_not_called_ok(split: str | None) -> None:
    frame = stream(CLEAN).table.frame
    subject = of_table("t", FrameTable(frame if split is None else frame.assign(split=split), Path()))
    assert {leak.check.status for leak in audit(subject).values()} == {"not checked"}
