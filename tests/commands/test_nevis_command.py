from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from continual_df.cli import main
from continual_df.commands.stream_cli import parse_settings
from tests.trees import WriteImage

METHOD = """
model:
  class_path: Finetune
  init_args: {detector: {class_path: TimmDetector, init_args: {backbone: test_resnet}}}
data: {init_args: {evaluate_on: dev_test}}
"""


@pytest.fixture
def root(tmp_path: Path, write_image: WriteImage) -> Path:
    """Three data sets of SHORT: one that comes twice, one without splits, and one of images with several labels."""
    root = tmp_path / "nevis"
    for split, count in {"train": 20, "test": 4}.items():
        for digit in range(2):
            for number in range(count):
                write_image(root / f"mnist/{split}/{digit}/{number}.png", size=10)
    for name in ("cup", "duck"):
        for number in range(24):
            write_image(root / f"coil100/{name}/{number}.png", size=12)
    write_image(root / "voc_2007/cat/1.png")
    return root


def test_a_stream_over_the_data_sets_that_are_there_can_be_run(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, method = tmp_path / "stream.yaml", tmp_path / "method.yaml"
    assert main(["data", "nevis", "--root", str(root), "--stream", "SHORT", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "3 of 29 events" in told
    assert "present 3: 0 COIL 100, 1 MNIST, 19 MNIST\n" in told
    assert "left out 2, since their images have several labels: 9 Pascal 2007, 14 Pascal 2012\n" in told
    assert "absent 24: 2 Pascal 2005, " in told
    assert "note: MNIST has 2 class folders, 10 classes in NEVIS\n" in told
    assert told.count("note: ") == 2
    assert out.read_text().startswith("# NEVIS'22 SHORT (arXiv:2211.11747): 3 of 29 events\n# present 3: ")
    method.write_text(METHOD)
    stream = parse_settings(["--config", str(out), "--config", str(method)]).datamodule.stream
    described = stream.describe()
    assert [task["name"] for task in described["tasks"]] == ["COIL 100", "MNIST", "MNIST (2)"]
    assert described["tasks"][0]["methods"] == ["coil100.cup", "coil100.duck"]
    assert described["tasks"][2]["class_ids"] == {
        "real": 0,
        "coil100.cup": 1,
        "coil100.duck": 2,
        "mnist.0": 3,
        "mnist.1": 4,
    }
    counts = [task["counts"] for task in described["tasks"]]
    assert counts[1] == counts[2]
    # 70/15/15 of 40 official training images, and 56/12/12 of 48
    assert {split: sum(by.values()) for split, by in counts[1].items()} == {"train": 28, "val": 6, "test": 6}
    assert {split: sum(by.values()) for split, by in counts[0].items()} == {"train": 27, "val": 6, "test": 6}
    assert described["evaluated_on"] == "dev_test"


def test_own_validation_that_is_replaced_is_said(
    root: Path, tmp_path: Path, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val", "test"):
        write_image(root / f"usps/{split}/0/1.png")
    out = tmp_path / "stream.yaml"
    assert main(["data", "nevis", "--root", str(root), "--out", str(out)]) == 0
    assert "note: the val of USPS is not used, since val_fraction takes another from train" in capsys.readouterr().out
    assert yaml.safe_load(out.read_text())["data"]["init_args"]["val_fraction"] == 0.15


def test_a_folder_without_data_sets_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root, message in ((tmp_path, "No single-label data set"), (tmp_path / "none", "was not found at")):
        assert main(["data", "nevis", "--root", str(root), "--out", str(tmp_path / "stream.yaml")]) == 2
        printed = capsys.readouterr().err
        assert message in printed
        assert printed.count("\n") == 1
    assert not (tmp_path / "stream.yaml").exists()
