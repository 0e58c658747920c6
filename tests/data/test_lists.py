from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.frame_table import FrameTable, write_table
from continual_df.data.readers import ForgeryNet, OwDfa, PathList, TableFile
from continual_df.errors import DatasetNotFoundError, FrameTableError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


# ForensicHub


def test_a_path_list_needs_path_and_label_only(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    entries = [
        {"path": "./a/1.png", "label": 0},
        {"path": str(tmp_path / "b/2.png"), "label": 1},
        {"path": "b\\3.png", "label": 1},
    ]
    (tmp_path / "GLIDE.json").write_text(json.dumps(entries))
    table = PathList(str(tmp_path / "GLIDE.json"), split="test").read()
    assert table.frame["path"].tolist() == ["a/1.png", "b/2.png"]
    assert table.frame["method"].tolist() == ["real", "glide"]
    assert table.frame["group"].tolist() == ["GLIDE/1", "GLIDE/2"]
    assert set(table.frame["split"]) == {"test"}
    assert [tuple(item) for item in table.skipped] == [("b/3.png", "file missing")]


def test_a_path_list_may_carry_other_columns(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    entries = [{"path": "1.png", "label": 1, "method": "sdxl", "group": "g"}, {"path": "2.png", "label": 1}]
    (tmp_path / "l.json").write_text(json.dumps(entries))
    frame = PathList(str(tmp_path / "l.json"), method="flux").read().frame
    assert frame["method"].tolist() == ["sdxl", "flux"]
    assert frame["group"].tolist() == ["g", "l/2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not a JSON file"),
        ("{}", "top level: expected a list.*DeepfakeBench"),
        ('[{"path": "1.png", "label": 0}, {"path": "2.png"}]', "row 1, column 'label': the entry has no 'label'"),
        ('[{"path": "1.png", "label": "cat"}]', "row 0, column 'label': a label is 0"),
        (f'[{{"path": "1.png", "label": 1{"0" * 400}}}]', "row 0, column 'label': a label is 0"),
        ('[{"path": "9.png", "label": 0}]', r"none of its 1 images exists.*9\.png"),
    ],
)
def test_a_wrong_path_list_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "l.json").write_text(content)
    with pytest.raises(FrameTableError, match=message):
        PathList(str(tmp_path / "l.json")).read()


# frame tables


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": ["r.png", "f.png", "g.png"],
            "label": [0, 1, 1],
            "method": ["real", "lia", "sdxl"],
            "source": ["ff", "ff", "ffhq"],
            "group": ["1", "1", "2"],
        }
    )


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_file_is_read_and_filtered(tmp_path: Path, ending: str) -> None:
    touch(tmp_path / "images", "r.png", "f.png", "g.png")
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        rows().to_csv(path, index=False)
    else:
        write_table(FrameTable(rows(), tmp_path / "images"), path)
    root = str(tmp_path / "images") if ending == "csv" else None
    assert TableFile(str(path), root).read().frame["method"].tolist() == ["real", "lia", "sdxl"]
    some = TableFile(str(path), root, where={"source": ["ff"], "label": ["1"]}).read()
    assert some.frame["path"].tolist() == ["f.png"]


def test_a_table_file_lists_missing_images(tmp_path: Path) -> None:
    touch(tmp_path, "r.png", "f.png")
    rows().to_csv(tmp_path / "t.csv", index=False)
    table = TableFile(str(tmp_path / "t.csv")).read()
    assert table.frame.index.tolist() == [0, 1]
    assert [tuple(item) for item in table.skipped] == [("g.png", "file missing")]
    assert len(TableFile(str(tmp_path / "t.csv"), check_files=False).read()) == 3


def test_a_table_filter_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "r.png")
    rows().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(FrameTableError, match="'where' names the column 'domain'; the table has path, label"):
        TableFile(str(tmp_path / "t.csv"), where={"domain": ["x"]}).read()
    with pytest.raises(FrameTableError, match="no row is left"):
        TableFile(str(tmp_path / "t.csv"), where={"source": ["x"]}).read()
    with pytest.raises(DatasetNotFoundError, match="data build"):
        TableFile(str(tmp_path / "no.csv")).read()


# OW-DFA

OWDFA = """img_name,label,method,forgery_type,forgery_label,face_type,tag,code,image_source,img_path,compression,frame_idx
000,0,Real,RealFace,0,1,1,x,FaceForensics++,/D/release/RealFace/Real/faceforensics/c23-000-0001.png,c23,1
000_003,1,Deepfakes,IdentitySwap,1,0,2,x,FaceForensics++,/D/release/IdentitySwap/Deepfakes/faceforensics/a.png,c23,1
000_003,2,FaceSwap,IdentitySwap,1,0,1,x,FaceForensics++,/D/release/IdentitySwap/FaceSwap/faceforensics/a.png,c23,1
7,3,StyleGAN2,EntireFaceSyncthesis,4,0,0,x,ForgeryNet,/D/release/EFS/StyleGAN2/ForgeryNet/7.png,,
8,3,StyleGAN2,EntireFaceSyncthesis,4,0,2,x,ForgeryNIR+,/D/release/EFS/StyleGAN2/ForgeryNIR/8.png,,
9,9,Real,RealFace,0,1,2,x,CelebDF,/D/release/RealFace/Real/CelebDF/9.png,,
"""


@pytest.fixture
def owdfa(tmp_path: Path) -> Path:
    (tmp_path / "meta.csv").write_text(OWDFA)
    for line in OWDFA.splitlines()[1:6]:
        touch(tmp_path / "images", line.split(",")[9].removeprefix("/D/release/"))
    return tmp_path


def test_owdfa_rows_keep_their_tag_and_take_no_class_number_for_a_label(owdfa: Path) -> None:
    table = OwDfa([str(owdfa / "meta.csv")], str(owdfa / "images")).read()
    frame = table.frame
    assert frame["method"].tolist() == ["real", "deepfakes", "faceswap_ff", "stylegan2"]
    assert frame["label"].tolist() == [0, 1, 1, 1]
    assert frame["tag"].tolist() == [1, 2, 1, 2]
    assert frame["source"].tolist() == ["ff", "ff", "ff", "forgerynir"]
    assert frame["group"].tolist() == ["ff/000", "ff/000", "ff/000", "forgerynir/8"]
    assert frame["identity"].tolist() == ["ff/000", "ff/000|ff/003", "ff/000|ff/003", ""]
    assert table.skipped_by_reason() == {"tag 0 (dropped by the benchmark)": 1, "file missing": 1}
    assert len(OwDfa([str(owdfa / "meta.csv")], str(owdfa / "images"), keep_dropped=True).read()) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",tag,", ",flag,", r"meta\.csv, column 'tag': the column is missing \(found: img_name"),
        ("Deepfakes,IdentitySwap,1,0,2", "Deepfakes,IdentitySwap,1,0,7", "row 1, column 'tag': a tag is 0.*found '7'"),
        ("/D/release/", "/elsewhere/x/y", "none of its images exists"),
    ],
)
def test_a_wrong_owdfa_file_is_refused(owdfa: Path, old: str, new: str, message: str) -> None:
    (owdfa / "meta.csv").write_text(OWDFA.replace(old, new))
    with pytest.raises(FrameTableError, match=message):
        OwDfa([str(owdfa / "meta.csv")], str(owdfa / ("images" if old != "/D/release/" else "."))).read()


# ForgeryNet


def test_forgerynet_lines_give_one_of_sixteen_classes(tmp_path: Path) -> None:
    touch(tmp_path / "images", "train/0/a b.png", "train/3/c.png")
    lines = "Training/image/train/0/a b.png 0 0 0\n\nTraining/image/train/3/c.png 1 1 3\ntrain/13/d.png 1 2 13\n"
    (tmp_path / "list.txt").write_text(lines)
    table = ForgeryNet([str(tmp_path / "list.txt")], str(tmp_path / "images"), split="train").read()
    assert table.frame["path"].tolist() == ["train/0/a b.png", "train/3/c.png"]
    assert table.frame["method"].tolist() == ["real", "deepfacelab"]
    assert [tuple(item) for item in table.skipped] == [("train/13/d.png", "file missing")]
    by_folder = ForgeryNet([str(tmp_path / "list.txt")], str(tmp_path / "images"), group_by="folder").read()
    assert by_folder.frame["group"].tolist() == ["forgerynet/train/0", "forgerynet/train/3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png 1 1", "row 1: expected '<name> <2-way> <3-way> <16-way>', found 'a.png 1 1'"),
        ("a.png 0 1 3", "row 1: the classes 0 1 3 contradict each other"),
        ("a.png 1 1 16", "row 1: the classes 1 1 16 contradict"),
        ("2 v.mp4 0 10 1 30 5 0 1 1 3", "row 1: this is a line of a video list"),
    ],
)
def test_a_wrong_forgerynet_line_is_refused(tmp_path: Path, line: str, message: str) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "list.txt").write_text(f"a.png 0 0 0\n{line}\n")
    with pytest.raises(FrameTableError, match=message):
        ForgeryNet([str(tmp_path / "list.txt")], str(tmp_path)).read()
