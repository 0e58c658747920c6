from __future__ import annotations

import re
from pathlib import Path

import pytest

from continual_df.cli import main

CONFIG = """
trainer:
  max_epochs: 1
model:
  class_path: Replay
  init_args:
    detector:
      class_path: TimmDetector
      init_args: {backbone: test_resnet}
    memory:
      class_path: ReplayMemory
      init_args: {capacity: 5}
    batch_size: 4
data:
  class_path: ForgeryStream
  init_args:
    tables:
      - class_path: TableFile
        init_args: {path: "${oc.env:SOME_ROOT}/table.csv"}
    tasks:
      - methods: [a]
    reals: reuse
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("trainer:", "trianer:", "config.yaml, line 2: the key 'trianer' is not known; did you mean 'trainer'?"),
        (
            "max_epochs",
            "max_epoch",
            "config.yaml, line 3: the key 'max_epoch' is not known; did you mean 'max_epochs'?",
        ),
        ("backbone:", "bakbone:", "line 9: model: the key 'bakbone' is not known; did you mean 'backbone'?"),
        ("reals:", "reels:", "line 22: data: the key 'reels' is not known; did you mean 'reals'?"),
        ("{path:", "{pth:", "the key 'pth' is not known; did you mean 'path'?"),
        ("Replay\n", "Repaly\n", "line 5: model: there is no class 'Repaly'; did you mean 'Replay'?"),
        ("TimmDetector", "TimDetector", "line 8: model: there is no class 'TimDetector'; did you mean 'TimmDetector'?"),
        ("TableFile", "TabelFile", "there is no class 'TabelFile'; did you mean 'TableFile'?"),
        ("reals: reuse", "reals: reus", "line 22: data: reals: Expected a typing.Literal['split', 'reuse', 'none']"),
        ("batch_size: 4", "batch_size: many", "line 13: model: batch_size: Expected a <class 'int'>. Got value: many"),
        ("capacity: 5", "capacity: 0", "capacity must be at least 1, got 0"),
        ("test_resnet", "test_resnett", "timm has no model 'test_resnett'"),
        ("trainer:", "trainer: [", "config.yaml, line 4: this is not valid YAML"),
        (
            "SOME_ROOT",
            "NO_ROOT",
            "data.init_args.tables[0].init_args.path: the environment variable NO_ROOT is not set",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    old: str,
    new: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SOME_ROOT", str(tmp_path))
    monkeypatch.delenv("NO_ROOT", raising=False)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace(old, new, 1))
    run_dir = tmp_path / "run"
    assert main(["run", "--config", str(path), "--run_dir", str(run_dir)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    (line,) = [line for line in lines if line.startswith("continual-df run: ")]
    assert sentence in line
    assert not run_dir.exists()


def test_a_misspelt_flag_is_named_with_its_neighbour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    assert main(["run", "--config", str(path), "--trainer.max_epoch", "3"]) == 2
    assert (
        "the option '--trainer.max_epoch' is not known; did you mean '--trainer.max_epochs'?" in capsys.readouterr().err
    )


def test_a_missing_config_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", "nowhere.yaml"]) == 2
    assert re.search(r"File does not exist: '.*nowhere\.yaml'", capsys.readouterr().err)


def test_what_a_name_could_say_to_the_terminal_is_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "a\x1b[31m\nü")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\x1b[31m\\nü" in line
