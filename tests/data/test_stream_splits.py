from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from continual_df.data.datamodule import ForgeryStream
from continual_df.data.frame_table import FrameTable, check_frame
from continual_df.data.readers import Reader
from continual_df.data.stream import TaskSpec
from continual_df.errors import StreamError

Row = tuple[str, str, str, str]
"""Method, source, group, split."""


@dataclass(frozen=True)
class Ready(Reader):
    rows: tuple[Row, ...]

    def read(self) -> FrameTable:
        frame = pd.DataFrame(self.rows, columns=["method", "source", "group", "split"])
        frame["path"] = [f"{i}.png" for i in range(len(frame))]
        frame["label"] = (frame["method"] != "real").astype(int)
        # one person swapped with all others
        frame["identity"] = [
            f"{source}/0|{group}" for source, group in zip(frame["source"], frame["group"], strict=True)
        ]
        return FrameTable(check_frame(frame, "made up"), Path())


def rows(source: str, method: str, **counts: int) -> list[Row]:
    return [
        (kind, source, f"{source}/{split}{i}", "" if split == "none" else split)
        for split, count in counts.items()
        for i in range(count)
        for kind in ("real", method)
    ]


def splits(table: list[Row], method: str, **options: object) -> pd.Series:
    data = ForgeryStream([Ready(tuple(table))], [TaskSpec([method])], check_images=False, **options)  # type: ignore[arg-type]
    frame = data.stream.table.frame
    return frame.groupby("source")["split"].agg(lambda part: dict(part.value_counts()))


def test_a_source_without_splits_is_split_and_the_others_keep_theirs() -> None:
    table = rows("own", "a", train=3, val=1, test=1) + rows("bare", "b", none=10)
    made = splits(table, "b", link_identities=False)
    assert made["own"] == {"train": 6, "val": 2, "test": 2}
    assert made["bare"] == {"train": 14, "val": 2, "test": 4}


def test_a_source_with_gaps_is_refused() -> None:
    table = [*rows("own", "a", train=3, val=1, test=1), ("a", "own", "own/x", "")]
    with pytest.raises(StreamError, match="1 of 11 rows have no split, the first is row 10"):
        splits(table, "a")


def test_resplit_may_name_sources() -> None:
    table = rows("own", "a", train=3, val=1, test=1) + rows("wrong", "b", test=10)
    made = splits(table, "b", resplit=["wrong"], link_identities=False)
    assert made["own"] == {"train": 6, "val": 2, "test": 2}
    assert made["wrong"] == {"train": 14, "val": 2, "test": 4}
    with pytest.raises(StreamError, match=r"Unknown source 'wrnog' in data\.init_args\.resplit; they are own, wrong"):
        splits(table, "b", resplit=["wrnog"])


def test_validation_is_taken_from_every_source_in_place_of_its_own() -> None:
    table = rows("small", "a", train=4, val=2, test=1) + rows("large", "b", train=200, test=10)
    made = splits(table, "a", val_fraction=0.1, link_identities=False)
    assert made["small"] == {"train": 6, "val": 2, "": 4, "test": 2}
    assert made["large"] == {"train": 360, "val": 40, "test": 20}


def test_where_all_people_are_linked_only_groups_can_be_split() -> None:
    with pytest.raises(StreamError, match="link_identities: false"):
        splits(rows("own", "a", train=4, test=1), "a", val_fraction=0.1)
    with pytest.raises(StreamError, match="link_identities: false"):
        splits(rows("own", "a", none=5), "a")


def test_a_split_by_image_parts_what_belongs_together_and_one_by_group_does_not() -> None:
    table = rows("x", "a", none=40)
    kinds: list[tuple[Literal["group", "image"], bool]] = [("group", True), ("image", False)]
    for split_by, together in kinds:
        data = ForgeryStream(
            [Ready(tuple(table))], [TaskSpec(["a"])], check_images=False, link_identities=False, split_by=split_by
        )
        frame = data.stream.table.frame
        assert (frame.groupby("group")["split"].nunique() == 1).all() == together
        assert frame["split"].value_counts().to_dict() == {"train": 56, "val": 8, "test": 16}


def test_dev_test_is_taken_from_every_source_that_has_none() -> None:
    table = rows("small", "a", train=4, dev_test=2, test=1) + rows("large", "b", train=200, val=5, test=10)
    table += rows("bare", "c", none=100)
    made = splits(table, "b", dev_test_fraction=0.1, val_fraction=0.1, evaluate_on="dev_test", link_identities=False)
    assert made["small"] == {"train": 6, "val": 2, "dev_test": 4, "test": 2}
    assert made["large"] == {"train": 324, "val": 40, "dev_test": 36, "": 10, "test": 20}
    assert made["bare"] == {"train": 126, "val": 20, "dev_test": 14, "test": 40}


def test_no_group_is_torn_between_train_and_dev_test() -> None:
    # one photo in two sources, of which one has a dev_test of its own and keeps its training images
    table = rows("own", "a", train=6, dev_test=1, val=1, test=1) + rows("none", "b", train=6, val=1, test=1)
    table = [
        (method, source, group.replace("none/train", "own/train"), split) for method, source, group, split in table
    ]
    made = splits(table, "a", dev_test_fraction=0.5, link_identities=False)
    assert made["none"] == {"train": 12, "val": 2, "test": 2}
