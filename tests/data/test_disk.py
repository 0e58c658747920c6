from __future__ import annotations

import os
from pathlib import Path

import pytest

from continual_df.data.disk import DiskIndex
from continual_df.data.file_names import split_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("DF40/lia/ff/frames/000/1.png", "DF40/lia/ff/frames/001/1.png", "other/000/1.png", "Top.PNG"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    return tmp_path


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("DF40/lia/ff/frames/000/1.png", "DF40/lia/ff/frames/000/1.png"),
        (".\\sets\\DF40\\lia\\ff\\frames\\000\\1.png", "DF40/lia/ff/frames/000/1.png"),
        ("/abs/df40/LIA/ff/000/1.PNG", "DF40/lia/ff/frames/000/1.png"),
        ("top.png", "Top.PNG"),
        ("DF40/lia/ff/frames/002/1.png", None),
        ("DF40/lia/ff/frames/000/2.png", None),
        ("elsewhere/1.png", None),
    ],
)
def test_the_longest_existing_end_of_a_path_is_found(root: Path, listed: str, found: str | None) -> None:
    assert DiskIndex(root).find(listed) == found


def test_a_stated_prefix_is_all_that_is_dropped(root: Path) -> None:
    assert split_path("a\\b\\c.png", "a/") == ("b", "c.png")
    assert DiskIndex(root).find("x/other/000/1.png", "x/") == "other/000/1.png"
    assert DiskIndex(root).find("y/other/000/1.png", "x/") is None


def test_has_takes_names_as_they_are(root: Path) -> None:
    disk = DiskIndex(root)
    assert disk.has("Top.PNG")
    assert disk.has(str(root / "Top.PNG"))
    assert disk.has("other/../Top.PNG")
    assert not disk.has("DF40/lia/ff/000/1.png")
    assert not disk.has("other/000/2.png")
    assert disk.has("top.png") == (root / "top.png").is_file()


def test_each_folder_is_listed_once_and_no_file_is_looked_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir

    def count(path: Path) -> object:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    disk = DiskIndex(root)
    for _ in range(3):
        for name in range(50):
            disk.find(f"x/DF40/lia/ff/frames/000/{name}.png")
    assert len(listed) == len(set(listed)) == 6  # the root and five folders on the way
