from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.disk import DiskIndex
from continual_df.data.file_names import below
from continual_df.data.frame_table import FrameTable, check_frame, concat_tables, read_table, write_table
from continual_df.data.readers import DeepfakeBench, FolderTree, ForgeryNet, OwDfa, PathList, Reader, TableFile
from continual_df.errors import DatasetNotFoundError, FrameTableError

ODD = (
    "with space.png",
    "new\nline.png",
    "quote'\".png",
    "tab\t.png",
    "smile\U0001f642.png",
    "ünïcode.png",
    "a;$(x).png",
)


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def rows(*paths: str, **columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame({"path": list(paths), "label": 1, "method": "lia", "source": "ff"})
    return frame.assign(group=[str(number) for number in range(len(paths))], **columns)


# Names that are odd and fine


def test_odd_names_are_read_by_every_reader_and_survive_the_table(tmp_path: Path) -> None:
    root = touch(tmp_path / "images", *(f"lia/v 1/{name}" for name in ODD))
    listed = sorted(f"lia/v 1/{name}" for name in ODD)
    (tmp_path / "i.json").write_text(json.dumps({"s": {"lia_Fake": {"test": {"v": {"frames": listed}}}}}))
    (tmp_path / "l.json").write_text(json.dumps([{"path": path, "label": 1} for path in listed]), encoding="utf-8")
    rows(*listed).to_csv(tmp_path / "t.csv", index=False)
    for reader in (
        FolderTree(str(root)),
        DeepfakeBench([str(tmp_path / "i.json")], str(root)),
        PathList(str(tmp_path / "l.json"), str(root)),
        TableFile(str(tmp_path / "t.csv"), str(root)),
    ):
        table = reader.read()
        assert sorted(table.frame["path"]) == listed
        write_table(table, tmp_path / "again.parquet")
        assert read_table(tmp_path / "again.parquet").frame["path"].tolist() == table.frame["path"].tolist()


@pytest.mark.parametrize(("listed", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_index_finds_names_in_either_unicode_form(tmp_path: Path, listed: str, on_disk: str) -> None:
    def form(kind: str) -> str:
        return unicodedata.normalize(kind, "fälschung/bücher/é.png")  # type: ignore[arg-type]

    touch(tmp_path, form(on_disk))
    assert DiskIndex(tmp_path).find(f"x/{form(listed)}") == form(on_disk)


def test_a_table_takes_names_as_they_are_written(tmp_path: Path) -> None:
    touch(tmp_path, unicodedata.normalize("NFC", "é.png"))
    rows(unicodedata.normalize("NFD", "é.png")).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(FrameTableError, match="none of its 1 images exists"):
        TableFile(str(tmp_path / "t.csv")).read()


def test_a_file_whose_name_is_not_utf8_is_left_out_and_listed(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.png")
    (Path(os.fsdecode(os.fsencode(tmp_path / "real") + b"/caf\xe9.png"))).write_bytes(b"x")
    table = FolderTree(str(tmp_path)).read()
    assert table.frame["path"].tolist() == ["real/a.png"]
    assert [tuple(item) for item in table.skipped] == [("real/caf\\udce9.png", "the name is not UTF-8 (rename it)")]


@pytest.mark.parametrize(
    "path", ["x" * 300 + ".png", "a/" * 3000 + "x.png", "a\\" * 100_000 + "x.png", "./" * 100_000 + "none.png"]
)
def test_a_path_that_no_system_takes_is_a_missing_file(tmp_path: Path, path: str) -> None:
    root = touch(tmp_path / "images", "ok.png")
    (tmp_path / "i.json").write_text(json.dumps({"s": {"lia_Fake": {"test": {"v": {"frames": [path, "ok.png"]}}}}}))
    table = DeepfakeBench([str(tmp_path / "i.json")], str(root)).read()
    assert table.skipped_by_reason() == {"file missing": 1}
    (tmp_path / "l.json").write_text(json.dumps([{"path": path, "label": 1}, {"path": "ok.png", "label": 1}]))
    assert PathList(str(tmp_path / "l.json"), str(root)).read().frame["path"].tolist()[-1] == "ok.png"


def test_a_root_or_an_index_of_impossible_name_is_not_found(tmp_path: Path) -> None:
    for name in ("x" * 5000, "a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(DatasetNotFoundError):
            FolderTree(name).read()
        with pytest.raises(DatasetNotFoundError):
            PathList(name).read()
        with pytest.raises(DatasetNotFoundError):
            TableFile(f"{name}.csv").read()


# Paths that leave the root


@pytest.mark.parametrize("path", ["../x.png", "a/../../x.png", "/etc/passwd", "..", "/", "//x.png", "a\0.png"])
@pytest.mark.parametrize("column", ["path", "mask"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_path_that_leads_out_of_the_root_is_refused_with_its_row(
    tmp_path: Path, path: str, column: str, ending: str
) -> None:
    touch(tmp_path, "x.png", "set/ok.png", "set/b.png")
    frame = rows("ok.png", "b.png", mask=["", "ok.png"])
    frame.loc[1, column] = path
    file = tmp_path / "set" / f"t.{ending}"
    frame.to_csv(file, index=False) if ending == "csv" else frame.to_parquet(file)
    with pytest.raises(
        FrameTableError, match=rf"t\.{ending}, row 1, column '{column}': .*not lead below the root.*Write it rel"
    ):
        TableFile(str(file)).read()


def test_a_path_that_comes_back_below_the_root_gets_its_plain_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png", "a/y.png", "a/z.png")
    frame = rows("a/../a/./x.png", str(tmp_path / "a//y.png"), "a/z.png", mask=["", "", "./a/x.png"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    read = TableFile(str(tmp_path / "t.csv"), str(tmp_path)).read().frame
    assert read["path"].tolist() == ["a/x.png", "a/y.png", "a/z.png"]
    assert read["mask"].tolist() == ["", "", "a/x.png"]


def test_one_file_under_two_spellings_is_one_file(tmp_path: Path) -> None:
    with pytest.raises(FrameTableError, match="row 1, column 'path': each image stands in one row only"):
        check_frame(rows("a/x.png", "a/b/../x.png"), "t.csv")


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a/b.png", "a/b.png"),
        ("./a//b.png", "a/b.png"),
        ("a/../b.png", "b.png"),
        ("/data/set/b.png", "b.png"),
        ("/data/set/../set/b.png", "b.png"),
        ("/data/settings/b.png", "/data/settings/b.png"),
        ("../b.png", "../b.png"),
        ("", ""),
    ],
)
def test_below_goes_by_names_alone(path: str, plain: str) -> None:
    assert below(path, Path("/data/set")) == plain


def test_an_index_never_finds_what_lies_outside_of_its_root(tmp_path: Path) -> None:
    root = touch(tmp_path, "secret/x.png", "set/a/b.png") / "set"
    disk = DiskIndex(root)
    for path in ("../secret/x.png", "a/../../secret/x.png", "..\\secret\\x.png", str(tmp_path / "secret/x.png")):
        assert disk.find(path) is None
    assert disk.find("../a/b.png") == "a/b.png"  # what stands in front may be dropped


@pytest.mark.parametrize("kind", ["deepfakebench", "owdfa", "forgerynet", "path list"])
def test_readers_that_do_not_look_for_files_refuse_paths_that_leave_the_root(tmp_path: Path, kind: str) -> None:
    index = tmp_path / "index"
    path = "../../etc/x.png"
    if kind == "deepfakebench":
        index.write_text(json.dumps({"s": {"lia_Fake": {"test": {"v": {"frames": [path]}}}}}))
    elif kind == "owdfa":
        index.write_text(f"img_path,method,tag\n{path},Deepfakes,1\n")
    elif kind == "forgerynet":
        index.write_text(f"{path} 1 1 3\n")
    else:
        index.write_text(json.dumps([{"path": path, "label": 1}]))
    files, root = [str(index)], str(tmp_path)
    readers: dict[str, Callable[[], Reader]] = {
        "deepfakebench": lambda: DeepfakeBench(files, root, strip="", check_files=False),
        "owdfa": lambda: OwDfa(files, root, strip="", check_files=False),
        "forgerynet": lambda: ForgeryNet(files, root, check_files=False),
        "path list": lambda: PathList(str(index), root, check_files=False),
    }
    with pytest.raises(FrameTableError, match="row 0, column 'path': the path does not lead below the root"):
        readers[kind]().read()


def test_roots_written_with_dots_meet_in_their_common_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "work/x", "data/a.png", "work/b.png")
    monkeypatch.chdir(tmp_path / "work")
    both = concat_tables([FrameTable(rows("a.png"), Path("../data")), FrameTable(rows("b.png"), Path())])
    assert both.frame["path"].tolist() == ["data/a.png", "work/b.png"]
    assert all((both.root / path).is_file() for path in both.frame["path"])


# Links


def test_links_inside_the_root_are_followed_outside_of_it(tmp_path: Path) -> None:
    touch(tmp_path, "store/v1/0.png", "store/one.png", "set/real/x/0.png")
    (tmp_path / "set/lia").symlink_to("../store")
    (tmp_path / "set/real/1.png").symlink_to(tmp_path / "store/one.png")
    listed = ["lia/one.png", "lia/v1/0.png", "real/1.png", "real/x/0.png"]
    assert FolderTree(str(tmp_path / "set")).read().frame["path"].tolist() == listed
    rows(*listed).to_csv(tmp_path / "t.csv", index=False)
    assert TableFile(str(tmp_path / "t.csv"), str(tmp_path / "set")).read().frame["path"].tolist() == listed
    assert DiskIndex(tmp_path / "set").find("x/lia/v1/0.png") == "lia/v1/0.png"


def two_ways(root: Path) -> None:
    for folder in ("real/a", "real/b", "lia/a", "lia/b"):
        (root / folder).symlink_to(root)


def each_other(root: Path) -> None:
    (root / "real/a").symlink_to("b")
    (root / "real/b").symlink_to("a")


LOOPS: dict[str, Callable[[Path], None]] = {
    "itself": lambda root: (root / "real/loop").symlink_to("loop"),
    "each other": each_other,
    "its folder": lambda root: (root / "real/loop").symlink_to("."),
    "the root": lambda root: (root / "real/loop").symlink_to(root),
    "above the root": lambda root: (root / "real/loop").symlink_to("/"),
    "a brother": lambda root: (root / "real/loop").symlink_to("../lia"),
    "two ways": two_ways,
}


@pytest.mark.parametrize("loop", LOOPS)
def test_loops_of_links_end_and_every_file_is_read_once(tmp_path: Path, loop: str) -> None:
    root = touch(tmp_path / "set", "real/v/0.png", "lia/v/0.png")
    LOOPS[loop](root)
    table = FolderTree(str(root)).read()
    assert table.frame["path"].tolist() == ["lia/v/0.png", "real/v/0.png"]
    reasons = {"link to a folder that is read elsewhere (read once)", "no file: a broken link, a pipe or a device"}
    assert set(table.skipped_by_reason()) <= reasons
    assert table.skipped
    assert DiskIndex(root).find("x/real/v/0.png") == "real/v/0.png"
    assert DiskIndex(root).find("real/" + "loop/" * 50 + "none.png") is None


def test_a_ladder_of_links_takes_no_longer_than_its_folders(tmp_path: Path) -> None:
    for step in range(25):  # two to the 25 ways to the last one
        (tmp_path / f"store/{step}").mkdir(parents=True)
        for side in "lr":
            (tmp_path / f"store/{step}/{side}").symlink_to(f"../{step + 1}")
    touch(tmp_path, "store/25/0.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/lia").symlink_to("../store/0")
    assert len(FolderTree(str(tmp_path / "set")).read()) == 1


def test_a_folder_keeps_its_own_name_beside_a_link_to_it(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "simswap/v/0.png", "real/0.png")
    (root / "latest").symlink_to("simswap")
    table = FolderTree(str(root)).read()
    assert set(table.frame["method"]) == {"simswap", "real"}
    assert [tuple(item) for item in table.skipped] == [
        ("latest", "link to a folder that is read elsewhere (read once)")
    ]


def test_broken_links_and_pipes_are_no_images(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "real/0.png")
    (root / "real/1.png").symlink_to("gone.png")
    os.mkfifo(root / "real/2.png")
    table = FolderTree(str(root)).read()
    assert table.frame["path"].tolist() == ["real/0.png"]
    assert table.skipped_by_reason() == {"no file: a broken link, a pipe or a device": 2}
    disk = DiskIndex(root)
    assert [disk.find(f"real/{n}.png") for n in range(3)] == ["real/0.png", None, None]
    assert [disk.has(f"real/{n}.png") for n in range(3)] == [True, False, False]


def test_a_folder_that_cannot_be_listed_is_refused_and_not_left_out(tmp_path: Path) -> None:
    root = touch(tmp_path / "set", "real/0.png", "lia/0.png")
    tmp_path.chmod(0o755)
    (root / "lia").chmod(0)
    as_root = os.geteuid() == 0
    modes = {folder: folder.stat().st_mode for folder in tmp_path.parents if as_root}
    closed = [folder for folder, mode in modes.items() if mode & 0o005 != 0o005]
    try:
        if as_root:  # root lists anything
            for folder in closed:
                folder.chmod(0o755)
            os.seteuid(65534)
        for read in (FolderTree(str(root)).read, lambda: DiskIndex(root).find("lia/0.png")):
            with pytest.raises(FrameTableError, match=r"lia: the folder cannot be listed.*Allow reading it"):
                read()
    finally:
        if as_root:
            os.seteuid(0)
        for folder in closed:
            folder.chmod(modes[folder])
        (root / "lia").chmod(0o755)


# Names that would spoil the terminal


def test_control_characters_in_a_wrong_value_are_shown_escaped(tmp_path: Path) -> None:
    rows("ok.png").assign(label="\x1b[2J\n").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(FrameTableError) as caught:
        TableFile(str(tmp_path / "t.csv")).read()
    assert str(caught.value).isprintable()
