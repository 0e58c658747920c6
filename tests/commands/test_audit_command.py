from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from continual_df.cli import main
from continual_df.data.frame_table import FrameTable, read_table, write_table
from tests.toy import write_toy_table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks on the toy, with hashes; `columns` is a shortcut by itself, `smooth` too."""
    folder = tmp_path_factory.mktemp("trained")
    table = write_toy_table(folder, ("columns", "smooth"))
    write_table(table, folder / "t.parquet")
    config: dict[str, Any] = {
        "seed_everything": 3,
        "run_dir": str(folder / "run"),
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "class_path": "Finetune",
            "init_args": {"detector": {"class_path": "tests.toy.TinyDetector"}, "batch_size": 8},
        },
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(folder / "t.parquet")}}],
                "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
                "hash_files": True,
            },
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "--config", str(folder / "config.yaml")]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, whose images and tables are a copy, too."""
    shutil.copytree(trained, tmp_path / "data")
    folder = tmp_path / "data/run"
    table = read_table(folder / "frames.parquet")
    write_table(FrameTable(table.frame, tmp_path / "data", table.skipped), folder / "frames.parquet")
    table = read_table(trained / "t.parquet")
    write_table(FrameTable(table.frame, tmp_path / "data"), tmp_path / "data/t.parquet")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace(str(trained), str(tmp_path / "data")))
    return folder


def audited(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "audit.json").read_text())
    return content


def checks(run: Path) -> dict[str, str]:
    found = audited(run)
    return {item["name"]: item["status"] for item in found["files"]} | {
        item["name"]: item["status"] for item in found["leakage"]
    }


def test_an_audit_prints_every_section_and_writes_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run)]) == 0
    printed = capsys.readouterr().out
    for part in ("files\n", "leakage\n", "shortcut\n", "label noise\n", "flagged: ", str(run / "audit.json")):
        assert part in printed
    found = audited(run)
    assert found["schema"] == 1
    assert checks(run) == {
        "files can be read": "ok",
        "files are those that were hashed": "ok",
        "tables are those that the run has read": "ok",
        "an image in two splits": "ok",
        "a group in two splits": "ok",
        "an identity in two splits": "not checked",
        "a swap in train or val with a parent in test": "not checked",
        "identical files in two splits": "ok",
        "val is test": "ok",
    }
    methods = found["shortcut"]["methods"]
    assert [item["name"] for item in methods] == ["columns", "smooth"]
    assert all(0 <= item["test"]["auc"] <= 1 and item["images"]["train"] == [24, 24] for item in methods)
    assert found["shortcut"]["domains"] == []
    assert sum(found["label_noise"][0]["checked"].values()) == 3 * (8 + 16)


def test_the_same_run_gives_the_same_audit(run: Path) -> None:
    main(["audit", str(run)])
    first = (run / "audit.json").read_bytes()
    main(["audit", str(run)])
    assert (run / "audit.json").read_bytes() == first


def test_strict_exits_with_1_only_where_something_is_flagged(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--strict", str(run)]) == 1
    assert "shortcut of smooth against reals of toy" in capsys.readouterr().out
    assert any(item.startswith("shortcut of smooth") for item in audited(run)["flagged"])


def test_what_was_replaced_relabelled_and_lost_since_the_run_is_flagged(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run.parent
    table = read_table(root / "t.parquet")
    Image.new("RGB", (16, 16)).save(root / table.frame.loc[0, "path"])
    frame = table.frame.copy()
    frame.loc[1, ["label", "method"]] = [0, "real"]
    write_table(FrameTable(frame, root), root / "t.parquet")
    (root / table.frame.loc[5, "path"]).write_bytes(b"broken")
    assert main(["audit", "--strict", str(run)]) == 1
    found = checks(run)
    assert found["files can be read"] == "unreadable"
    assert found["files are those that were hashed"] == "changed"
    assert found["tables are those that the run has read"] == "changed"
    printed = capsys.readouterr().out
    assert "1 of 144" in printed
    assert "2 of 144 changed" in printed
    assert "1 image changed in label (the first: 'images/columns/train0.png': 1, now 0)" in printed


def test_images_that_are_elsewhere_are_flagged_and_leave_their_sections_unchecked(run: Path) -> None:
    shutil.rmtree(run.parent / "images")
    assert main(["audit", "--strict", str(run)]) == 1
    assert audited(run)["flagged"] == ["files can be read: none of 144 can, as if the images were elsewhere"]
    assert checks(run)["identical files in two splits"] == "not checked"
    assert checks(run)["tables are those that the run has read"] == "not checked"
    assert audited(run)["shortcut"]["methods"][0]["notes"] == ["one side has no readable image"]


def test_training_labels_are_looked_at_on_request(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(run), "--train"]) == 0
    noise = audited(run)["label_noise"]
    assert len(noise) == 2
    assert noise[1]["checked"] == {"real": 24, "columns": 24, "smooth": 24}
    assert "probes of untrained features" in capsys.readouterr().out


def test_a_table_and_a_yaml_are_audited_without_predictions(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = run.parent
    for target in ("t.parquet", "config.yaml"):
        assert main(["audit", str(root / target), "-o", str(root / "audit.json")]) == 0
        found = json.loads((root / "audit.json").read_text())
        assert [item["name"] for item in found["shortcut"]["methods"]] == ["columns", "smooth"]
        assert "not checked: a table has no predictions" in capsys.readouterr().out
    assert main(["audit", str(root / "t.parquet")]) == 0
    assert not (root / "t.parquet/audit.json").exists()


def test_a_leak_between_tasks_is_told_with_the_tasks(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_table(run / "frames.parquet")
    frame = table.frame
    test = frame[(frame["method"] == "smooth") & (frame["split"] == "test")].index[0]
    frame.loc[test, "group"] = "train0"
    write_table(FrameTable(frame, table.root), run / "frames.parquet")
    assert main(["audit", str(run), "--strict"]) == 1
    assert "a group in two splits: 1 between train of task 1 (columns) and test of task 2 (smooth)" in (
        capsys.readouterr().out
    )


def test_numbers_that_could_not_be_measured_are_null(run: Path) -> None:
    membership = pd.read_parquet(run / "membership.parquet")
    keep = (membership["split"] != "train") | (membership["task"] != 0)
    membership[keep].to_parquet(run / "membership.parquet")
    assert main(["audit", str(run)]) == 0
    columns = audited(run)["shortcut"]["methods"][0]
    assert columns["test"] is None
    assert np.isfinite(columns["folds"])
    assert columns["notes"][0] == "one side has no images in train: folds by group only"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["nowhere"], "configuration 'nowhere' does not exist"),
        (["t.parquet", "--train"], "--train needs the folder of a run"),
        (["run", "--root", "x"], "--root goes with a .csv or .parquet table"),
        (["images"], "is no run folder: frames.parquet, membership.parquet, stream.json missing"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, flags: list[str], message: str
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["audit", *flags]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_training_labels_need_what_the_run_was_built_of(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("TinyDetector", "GoneDetector"))
    assert main(["audit", str(run), "--train"]) == 2
    assert "GoneDetector" in capsys.readouterr().err


def test_unlabelled_images_are_not_among_the_training_labels(run: Path) -> None:
    """An image that has no label in the stream has none that could be wrong."""
    membership = pd.read_parquet(run / "membership.parquet")
    hidden = membership["sample"].isin(membership.loc[membership["split"] == "train", "sample"].iloc[:5])
    membership.loc[hidden & (membership["split"] == "train"), "split"] = "unlabelled"
    membership.to_parquet(run / "membership.parquet")
    assert main(["audit", str(run), "--train"]) == 0
    assert sum(audited(run)["label_noise"][1]["checked"].values()) == 72 - 5


def test_a_run_on_files_that_changed_is_refused_in_one_sentence_and_leaves_no_folder(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run.parent
    assert main(["data", "build", str(root / "t.parquet"), "-o", str(root / "t.parquet"), "--hash"]) == 0
    Image.new("RGB", (16, 16)).save(root / "images/real/train0.png")
    settings = yaml.safe_load((root / "config.yaml").read_text())
    settings["data"]["init_args"]["tables"][0]["init_args"]["path"] = str(root / "t.parquet")
    (root / "again.yaml").write_text(yaml.safe_dump(settings))
    capsys.readouterr()
    flags = ["run", "--config", str(root / "again.yaml"), "--run_dir", str(root / "again")]
    assert main(flags) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
    assert len(lines) == 1
    assert "1 of 144 files are not those that were hashed; the first is 'images/real/train0.png'" in lines[0]
    assert not (root / "again").exists()
