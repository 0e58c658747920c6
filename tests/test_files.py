from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from continual_df.errors import WriteError
from continual_df.files import remove_unfinished, renamed


def test_a_file_appears_whole_and_is_synced_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def seen_replace(source: str, target: str) -> None:
        done.append(f"rename to {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    with renamed(tmp_path / "new" / "a.txt") as path:
        path.write_text("1")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert path.suffix == ".txt"
    assert done == [f"sync .partial-{os.getpid()}-a.txt", "rename to a.txt", "sync new"]
    assert (tmp_path / "new" / "a.txt").read_text() == "1"


def test_a_folder_appears_whole_with_all_its_files_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    with renamed(tmp_path / "1") as folder:
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "x").write_text("x")
    assert (tmp_path / "1" / "deep" / "x").read_text() == "x"
    assert {"x", "deep", f".partial-{os.getpid()}-1", tmp_path.name} <= set(synced)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("not JSON")])
def test_what_fails_leaves_the_old_file_and_nothing_unfinished(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "a").write_text("old")

    def write() -> None:
        with renamed(tmp_path / "a") as path:
            path.write_text("half")
            raise error

    with pytest.raises(WriteError if isinstance(error, OSError) else ValueError):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_the_error_says_file_reason_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    def write() -> None:
        with renamed(tmp_path / "file" / "a"):
            pass

    with pytest.raises(
        WriteError, match=r"file/a' could not be written \((Not a directory|File exists)\); .* Make room"
    ):
        write()


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tasks" / ".partial-3").mkdir(parents=True)
    for name in ("tasks/.partial-3/checkpoint.ckpt", ".partial-results.json", "results.json", ".lock"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")} == {"tasks", "results.json", ".lock"}
