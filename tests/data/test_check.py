from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.check import (
    Check,
    check_groups,
    check_hashes,
    check_identities,
    check_leaks,
    check_swaps,
    check_validation,
)
from continual_df.data.file_hashes import hash_files, hash_shared_sizes
from continual_df.data.frame_table import FrameTable
from continual_df.errors import UnreadableImageError


def frame(**columns: list[str]) -> pd.DataFrame:
    """Six rows, two a split, without a leak; `columns` replaces some."""
    clean = {
        "path": [f"{i}.png" for i in range(6)],
        "label": [0, 1] * 3,
        "method": ["real", "lia"] * 3,
        "source": ["ff"] * 6,
        "group": ["a", "a", "b", "b", "c", "c"],
        "identity": ["x", "x|u", "y", "y|v", "z", "z|w"],
        "split": ["train", "train", "val", "val", "test", "test"],
    }
    return pd.DataFrame({**clean, **columns})


CHECKS: list[Callable[[pd.DataFrame], Check]] = [check_groups, check_identities, check_swaps, check_validation]


@pytest.mark.parametrize("check", CHECKS)
def test_a_clean_table_has_no_leak(check: Callable[[pd.DataFrame], Check]) -> None:
    assert check(frame()).status == "ok"


def test_a_group_in_two_splits_is_found() -> None:
    found = check_groups(frame(group=["a", "a", "b", "b", "c", "a"]))
    assert (found.status, found.detail, found.examples) == ("leak", "1 of 3", ("a in test, train",))


def test_an_identity_in_two_splits_is_found_even_as_a_donor() -> None:
    found = check_identities(frame(identity=["x", "x|y", "y", "y|v", "z", "z|w"]))
    assert (found.status, found.examples) == ("leak", ("y in train, val",))


@pytest.mark.parametrize("identity", ["x|z", "z|x"])
def test_a_swap_with_a_parent_in_test_is_found_as_target_and_as_donor(identity: str) -> None:
    found = check_swaps(frame(identity=["x", identity, "y", "y|v", "z", "z|w"]))
    assert (found.status, found.detail) == ("leak", "1 images: lia 1")
    assert found.examples == ("1.png (train): z in test",)


def test_a_real_with_an_identity_of_test_is_an_identity_leak_but_no_swap() -> None:
    table = frame(identity=["z", "x|u", "y", "y|v", "z", "z|w"])
    assert check_swaps(table).status == "ok"
    assert check_identities(table).status == "leak"


def test_a_val_split_that_is_the_test_split_is_found() -> None:
    assert check_validation(frame(group=["a", "a", "c", "c", "c", "c"])).status == "leak"
    assert check_validation(frame(group=["a", "a", "c", "d", "c", "c"])).status == "ok"
    assert check_validation(frame(split=["train"] * 4 + ["test"] * 2)).detail == "no row in val"


@pytest.mark.parametrize("check", [check_identities, check_swaps])
@pytest.mark.parametrize("table", [frame(identity=[""] * 6), frame().drop(columns="identity")])
def test_without_identity_nothing_is_called_ok(check: Callable[[pd.DataFrame], Check], table: pd.DataFrame) -> None:
    found = check(table)
    assert (found.status, found.detail) == ("not checked", "identity missing in 6 of 6 rows")


@pytest.mark.parametrize("check", [check_identities, check_swaps])
def test_with_identity_in_some_rows_nothing_is_called_ok(check: Callable[[pd.DataFrame], Check]) -> None:
    found = check(frame(identity=["x", "", "y", "y|v", "z", "z|w"]))
    assert (found.status, found.detail) == ("not checked", "identity missing in 1 of 6 rows; no leak among the others")


@pytest.mark.parametrize("check", CHECKS)
def test_without_split_nothing_is_checked(check: Callable[[pd.DataFrame], Check]) -> None:
    assert check(frame(split=[""] * 6)).status == "not checked"
    assert check(frame().drop(columns="split")).status == "not checked"


@pytest.fixture
def table(tmp_path: Path) -> FrameTable:
    for i, content in enumerate(["aaaa", "bb", "cccc", "dddddd", "eeee", "ffffffff"]):
        (tmp_path / f"{i}.png").write_text(content)
    return FrameTable(frame(), tmp_path)


def test_identical_files_in_two_splits_are_found(table: FrameTable) -> None:
    assert [item.status for item in check_leaks(table)] == ["ok"] * 5
    (table.root / "4.png").write_text("aaaa")
    found = check_leaks(table)[3]
    assert (found.status, found.detail) == ("leak", "2 files with 1 contents")
    assert found.examples == ("0.png (train) = 4.png (test)",)


def test_identical_files_in_one_split_are_no_leak(table: FrameTable) -> None:
    (table.root / "1.png").write_text("aaaa")
    assert check_leaks(table)[3].status == "ok"


def test_only_files_whose_size_occurs_in_two_splits_are_read(table: FrameTable) -> None:
    calls: list[tuple[int, int]] = []
    hashes = hash_shared_sizes(table, lambda done, total: calls.append((done, total)))
    assert (hashes != "").tolist() == [True, False, True, False, True, False]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert hash_files(table)[0] == hashes[0]
    assert len(set(hash_files(table))) == 6


def test_a_hash_column_is_used_as_it_is(table: FrameTable) -> None:
    stored = FrameTable(table.frame.assign(hash=["1", "2", "3", "4", "1", "6"]), table.root)
    assert check_leaks(stored)[3].examples == ("0.png (train) = 4.png (test)",)


def test_hashing_can_be_switched_off(table: FrameTable) -> None:
    assert check_leaks(table, hashes=False)[3].detail == "switched off"
    assert check_hashes(table.frame).detail == "hash missing in 6 of 6 rows"


def test_a_file_that_cannot_be_read_is_named(table: FrameTable) -> None:
    (table.root / "2.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"2\.png' cannot be read"):
        check_leaks(table)
