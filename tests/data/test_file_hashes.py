from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from continual_df.cli import main
from continual_df.data import file_pool
from continual_df.data.datamodule import ForgeryStream
from continual_df.data.file_hashes import hash_files, hash_readable
from continual_df.data.file_pool import over_files
from continual_df.data.frame_table import FrameTable, read_table, write_table
from continual_df.data.readers import TableFile
from continual_df.data.stream import TaskSpec
from continual_df.data.table_changes import describe_changes
from continual_df.data.table_digest import table_digest
from continual_df.errors import FrameTableError, UnreadableImageError


@pytest.fixture
def table(tmp_path: Path) -> FrameTable:
    """Eight photos and a forgery of each."""
    rows = []
    for group, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        for label, method in enumerate(("real", "swap")):
            path = tmp_path / f"{method}/{group}.png"
            path.parent.mkdir(exist_ok=True)
            save(path, 2 * group + label)
            rows.append([f"{method}/{group}.png", label, method, "toy", f"g{group}", split])
    columns = ["path", "label", "method", "source", "group", "split"]
    return FrameTable(pd.DataFrame(rows, columns=columns), tmp_path)


@pytest.fixture
def hashed(table: FrameTable) -> FrameTable:
    return FrameTable(table.frame.assign(hash=hash_files(table)), table.root)


def save(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)


def stream_of(table: FrameTable, **options: Any) -> ForgeryStream:
    write_table(table, table.root / "t.parquet")
    return ForgeryStream([TableFile(str(table.root / "t.parquet"))], [TaskSpec(["swap"])], **options)


def run_frame(table: FrameTable, **options: Any) -> pd.DataFrame:
    """Return the frame table that a run would store."""
    return stream_of(table, **options).stream.table.frame


def test_hash_is_that_of_the_bytes_however_large_the_file(tmp_path: Path) -> None:
    content = os.urandom(3 * (1 << 20) + 17)
    (tmp_path / "a").write_bytes(content)
    table = FrameTable(pd.DataFrame({"path": ["a"]}), tmp_path)
    assert hash_files(table).tolist() == [hashlib.blake2b(content, digest_size=16).hexdigest()]


def test_files_keep_their_order_over_many_handfuls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_pool, "FILES_AT_ONCE", 3)
    calls: list[tuple[int, int]] = []
    names = [str(i) for i in range(10)]
    found = list(over_files(lambda path: path.name, tmp_path, names, lambda done, total: calls.append((done, total))))
    assert found == names
    assert calls == [(i + 1, 10) for i in range(10)]


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    table = FrameTable(pd.DataFrame({"path": ["pipe.png"]}), tmp_path)
    with pytest.raises(UnreadableImageError, match="is no regular file"):
        hash_files(table)
    assert hash_readable(table, pd.Series([True])).tolist() == [""]


def test_unchanged_files_pass_and_their_hashes_stay(hashed: FrameTable) -> None:
    assert run_frame(hashed)["hash"].tolist() == hashed.frame["hash"].tolist()


def test_a_replaced_file_stops_the_run_with_count_name_and_fix(hashed: FrameTable) -> None:
    for name in ("swap/1.png", "real/6.png"):
        save(hashed.root / name, 99)
    with pytest.raises(FrameTableError) as error:
        run_frame(hashed)
    assert "row 3, column 'hash': 2 of 16 files are not those that were hashed; the first is 'swap/1.png'." in str(
        error.value
    )
    assert "data build --hash" in str(error.value)
    assert "changed_files: warn" in str(error.value)


def test_a_spoilt_file_is_a_changed_one_before_it_is_an_unreadable_one(hashed: FrameTable) -> None:
    (hashed.root / "swap/1.png").write_bytes(b"spoilt")
    with pytest.raises(FrameTableError, match="1 of 16 files are not those"):
        run_frame(hashed, max_unreadable=1.0)


def test_a_file_that_vanishes_after_reading_the_table_is_a_changed_one(hashed: FrameTable) -> None:
    data = stream_of(hashed)
    data.tables = [TableFile(str(hashed.root / "t.parquet"), check_files=False)]
    (hashed.root / "swap/1.png").unlink()
    with pytest.raises(FrameTableError, match=r"'swap/1\.png' \(it is gone\)"):
        _ = data.stream


def test_warn_trains_on_the_files_as_they_are_and_stores_their_hashes(hashed: FrameTable) -> None:
    save(hashed.root / "swap/1.png", 99)
    with pytest.warns(UserWarning, match="1 of 16 files are not those that were hashed"):
        frame = run_frame(hashed, changed_files="warn")
    assert frame["hash"].tolist() == hash_files(hashed).tolist()


def test_ignore_reads_nothing_and_claims_nothing(hashed: FrameTable) -> None:
    save(hashed.root / "swap/1.png", 99)
    assert "hash" not in run_frame(hashed, changed_files="ignore").columns


@pytest.mark.filterwarnings("error")
def test_a_table_without_hashes_is_not_compared_and_hashed_on_request_only(table: FrameTable) -> None:
    assert "hash" not in run_frame(table).columns
    assert run_frame(table, hash_files=True)["hash"].tolist() == hash_files(table).tolist()


def test_rows_without_a_hash_among_others_are_counted(hashed: FrameTable) -> None:
    hashed.frame.loc[[3, 5], "hash"] = ""
    with pytest.warns(UserWarning, match=r"2 of 16 rows have no hash.*the first is 'swap/1\.png'"):
        frame = run_frame(hashed)
    assert (frame["hash"] == "").tolist() == [row in (3, 5) for row in range(16)]
    with pytest.warns(UserWarning, match="2 of 16 rows have no hash"):
        assert (run_frame(hashed, hash_files=True)["hash"] != "").all()


TAMPERED = {
    "a changed label": lambda f: f.assign(
        label=f["label"].where(f.index != 1, 0), method=f["method"].where(f.index != 1, "real")
    ),
    "another split": lambda f: f.assign(split=f["split"].where(f.index != 1, "test")),
    "a hash to match a replaced file": lambda f: f.assign(hash=f["hash"].where(f.index != 1, "0" * 32)),
    "a row less": lambda f: f.drop(index=1),
    "a row more": lambda f: pd.concat([f, f.tail(1).assign(path="real/new.png")]),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_digest_of_the_table_refuses_what_hashes_cannot_see(hashed: FrameTable, name: str) -> None:
    pin = table_digest(hashed.frame)
    assert len(run_frame(hashed, table_digest=pin)) == 16
    save(hashed.root / "real/new.png", 5)
    tampered = FrameTable(TAMPERED[name](hashed.frame).reset_index(drop=True), hashed.root)
    with pytest.raises(FrameTableError, match=rf"not {pin} \(data.init_args.table_digest\)"):
        run_frame(tampered, table_digest=pin)


def test_a_digest_does_not_depend_on_order_empty_columns_or_private_columns(hashed: FrameTable) -> None:
    frame = hashed.frame
    pin = table_digest(frame)
    assert table_digest(frame.sample(frac=1, random_state=0)) == pin
    assert table_digest(frame.assign(identity="", note="mine")) == pin
    assert table_digest(frame.assign(identity="x")) != pin


@pytest.mark.parametrize("between", ["', '", ",", ", ", "\0", "\n"])
def test_a_digest_keeps_columns_apart(hashed: FrameTable, between: str) -> None:
    one = hashed.frame.assign(source=f"a{between}b", group="c")
    other = hashed.frame.assign(source="a", group=f"b{between}c")
    assert table_digest(one) != table_digest(other)


def change(table: FrameTable, **columns: str) -> FrameTable:
    """Return a copy whose row 3 has other values."""
    frame = table.frame.copy()
    for column, value in columns.items():
        if column not in frame.columns:
            frame[column] = ""
        frame.loc[3, column] = value
    return FrameTable(frame, table.root)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": 0}, "1 image changed in label (the first: 'swap/1.png': 1, now 0)"),
        ({"method": "real"}, "1 image changed in method (the first: 'swap/1.png': 'swap', now 'real')"),
        ({"split": "test"}, "1 image changed in split (the first: 'swap/1.png': 'train', now 'test')"),
        ({"hash": "0"}, "1 image changed in content (hash) (the first: 'swap/1.png')"),
        ({"identity": "x"}, "1 image changed in identity (the first: 'swap/1.png': '', now 'x')"),
        (
            {"path": "new.png"},
            "1 image is missing now (the first: 'swap/1.png'); 1 image is new (the first: 'new.png')",
        ),
        ({"hash": ""}, ""),
        ({}, ""),
    ],
)
def test_changes_are_told_by_kind(hashed: FrameTable, columns: dict[str, str], message: str) -> None:
    assert describe_changes(hashed, change(hashed, **columns)) == message


def test_changes_tell_of_another_order_of_rows_and_not_of_another_root(hashed: FrameTable) -> None:
    turned = FrameTable(hashed.frame[::-1].reset_index(drop=True), Path("/elsewhere"))
    assert describe_changes(hashed, turned) == "the rows are in another order"
    assert describe_changes(hashed, FrameTable(hashed.frame, Path("/elsewhere"))) == ""


def test_changes_survive_a_round_trip_through_a_file(hashed: FrameTable) -> None:
    stream = stream_of(hashed).stream
    write_table(stream.table, hashed.root / "frames.parquet")
    again = stream_of(hashed).stream.table
    assert describe_changes(read_table(hashed.root / "frames.parquet"), again) == ""


def test_check_names_changed_files_and_exits_with_1(hashed: FrameTable, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(hashed, hashed.root / "t.parquet")
    assert main(["data", "check", str(hashed.root / "t.parquet")]) == 0
    printed = capsys.readouterr().out
    assert "ok          files are those that were hashed: 16 files" in printed
    assert f"table digest: {table_digest(hashed.frame)}" in printed
    save(hashed.root / "swap/1.png", 99)
    assert main(["data", "check", str(hashed.root / "t.parquet")]) == 1
    assert "changed     files are those that were hashed: 1 of 16 changed\n              swap/1.png" in (
        capsys.readouterr().out
    )
    assert main(["data", "check", "--no-hash", str(hashed.root / "t.parquet")]) == 0


def test_check_finds_a_copy_that_was_put_in_after_hashing(
    hashed: FrameTable, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(hashed, hashed.root / "t.parquet")
    (hashed.root / "swap/1.png").write_bytes((hashed.root / "swap/7.png").read_bytes())
    assert main(["data", "check", str(hashed.root / "t.parquet")]) == 1
    assert "leak        identical files in two splits" in capsys.readouterr().out


def test_hashing_again_says_what_changed(hashed: FrameTable, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(hashed, hashed.root / "t.parquet")
    save(hashed.root / "swap/1.png", 99)
    output = hashed.root / "new.parquet"
    assert main(["data", "build", str(hashed.root / "t.parquet"), "-o", str(output), "--hash"]) == 0
    printed = capsys.readouterr().out
    assert "1 files changed since they were hashed, the first is 'swap/1.png'" in printed
    assert f"table digest: {table_digest(read_table(output).frame)}" in printed
    assert len(run_frame(read_table(output))) == 16
