from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.data.readers import FolderTree
from continual_df.errors import DatasetNotFoundError, FrameTableError


def build(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def test_folders_below_the_method_are_group_and_video(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "real/p1/0.png", "real/p1/1.png", "SimSwap/p1/0.png", "SimSwap/p2/0.png")
    frame = FolderTree(str(root), source="s").read().frame
    assert frame["method"].tolist() == ["simswap", "simswap", "real", "real"]
    assert frame["group"].tolist() == ["s/p1", "s/p2", "s/p1", "s/p1"]
    assert frame["video"].tolist() == ["s/SimSwap/p1", "s/SimSwap/p2", "s/real/p1", "s/real/p1"]


def test_images_right_in_the_method_folder_are_stills_grouped_by_name(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "real/1.jpg", "real/2.jpg", "stargan/1.jpg")
    frame = FolderTree(str(root)).read().frame
    assert frame["group"].tolist() == ["set/1", "set/2", "set/1"]
    assert frame["video"].nunique() == 3
    assert set(frame["source"]) == {"set"}


@pytest.mark.parametrize(
    ("path", "label", "method"),
    [
        ("0_real/a.png", 0, "real"),
        ("1_fake/a.png", 1, "biggan"),
        ("ProGAN/0_real/a.png", 0, "real"),
        ("ProGAN/1_fake/a.png", 1, "pggan"),
        ("ProGAN/cat/1_fake/a.png", 1, "pggan"),
        ("StarGAN2/x/a.png", 1, "starganv2"),
        ("null_codec/a.png", 0, "null_codec"),
    ],
)
def test_each_layout_gives_label_and_method(tmp_path: Path, path: str, label: int, method: str) -> None:
    row = FolderTree(str(build(tmp_path / "BigGAN", path))).read().frame.loc[0]
    assert (row["label"], row["method"]) == (label, method)


def test_a_first_folder_may_be_the_split(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "train/0_real/a.png", "valid/1_fake/b.png", "test/lia/v/c.png")
    frame = FolderTree(str(root), method="x").read().frame.sort_values("path")
    assert frame["split"].tolist() == ["test", "train", "val"]
    assert frame["method"].tolist() == ["lia", "real", "x"]


def test_a_first_folder_may_stand_for_another_split_and_a_second_one_be_passed_over(tmp_path: Path) -> None:
    root = build(
        tmp_path / "cyclegan", "train/horse/0_real/a.png", "train/horse/1_fake/b.png", "val/apple/1_fake/c.png"
    )
    frame = FolderTree(str(root), method="cyclegan", splits={"val": "test"}).read().frame.sort_values("path")
    assert frame["split"].tolist() == ["train", "train", "test"]
    assert frame["method"].tolist() == ["real", "cyclegan", "cyclegan"]


def test_names_of_real_and_fake_folders_can_be_set(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "Pristine/a.png", "lia/Forged/b.png")
    frame = FolderTree(str(root), real=["pristine"], fake=["forged"]).read().frame.set_index("path")
    assert frame["method"].to_dict() == {"Pristine/a.png": "real", "lia/Forged/b.png": "lia"}


def test_other_files_are_counted_and_hidden_ones_ignored(tmp_path: Path) -> None:
    root = build(tmp_path / "set", "real/a.PNG", "real/notes.txt", "real/.DS_Store", ".cache/x/y.png")
    table = FolderTree(str(root)).read()
    assert len(table) == 1
    assert table.skipped_by_reason() == {"not an image ('.txt')": 1}


def test_what_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="Set 'root'"):
        FolderTree(str(tmp_path / "no")).read()
    with pytest.raises(FrameTableError, match=r"a\.png: the image lies in no class folder"):
        FolderTree(str(build(tmp_path / "flat", "a.png"))).read()
    with pytest.raises(FrameTableError, match="no image found"):
        FolderTree(str(build(tmp_path / "none", "real/a.txt"))).read()
