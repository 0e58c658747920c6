from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.data.readers import ClassFolders
from continual_df.errors import DatasetNotFoundError, FrameTableError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def test_each_class_is_a_method_of_label_one(tmp_path: Path) -> None:
    root = touch(tmp_path / "letters", "A/1.png", "A/2.JPG", "a/1.png", "snow leopard/deep/1.jpeg", "a/notes.txt")
    table = ClassFolders(str(root)).read()
    frame = table.frame
    assert frame["method"].tolist() == ["letters.A", "letters.A", "letters.a", "letters.snow leopard"]
    assert set(frame["label"]) == {1}
    assert set(frame["source"]) == {"letters"}
    assert set(frame["split"]) == {""}
    assert frame["group"].is_unique
    assert [(item.entry, item.reason) for item in table.skipped] == [("a/notes.txt", "not an image ('.txt')")]


def test_first_folders_may_be_splits(tmp_path: Path) -> None:
    root = touch(tmp_path / "x", "train/a/1.png", "dev/a/2.png", "dev-test/a/3.png", "Test/a/4.png", "test/b/4.png")
    frame = ClassFolders(str(root), name="mnist").read().frame
    assert dict(zip(frame["path"], frame["split"], strict=True)) == {
        "Test/a/4.png": "test",
        "dev-test/a/3.png": "dev_test",
        "dev/a/2.png": "val",
        "test/b/4.png": "test",
        "train/a/1.png": "train",
    }
    assert set(frame["method"]) == {"mnist.a", "mnist.b"}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train/a/1.png", "extra/a/1.png"], "'train' is the folder of a split, but 'extra' is not"),
        (["1.png"], "the image lies in no class folder"),
        (["train/1.png"], "the image lies in no class folder"),
        (["a@b/1.png"], "the class 'a@b' holds '@'"),
        (["a/1.txt"], "no image found"),
    ],
)
def test_other_trees_are_refused(tmp_path: Path, paths: list[str], message: str) -> None:
    with pytest.raises(FrameTableError, match=message):
        ClassFolders(str(touch(tmp_path / "x", *paths))).read()


def test_a_missing_root_and_odd_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        ClassFolders(str(tmp_path / "none")).read()
    for name in ("", "a@b", "null_a"):
        with pytest.raises(ValueError, match=f"name is '{name}'"):
            ClassFolders(str(tmp_path), name=name)
