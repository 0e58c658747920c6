from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from continual_df.errors import RunFolderError
from continual_df.run_folder import RunFolder
from continual_df.task import Rows

PREDICTIONS = pd.DataFrame({"sample": [0, 1], "logit_fake": [0.5, -0.5]})


def make_folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.create("seed_everything: 0\n")
    return folder


def test_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "run")
    with pytest.raises(RunFolderError, match="exists already: choose another --run_dir"):
        make_folder(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="exists already"):
        make_folder(tmp_path / "file")


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    make_folder(tmp_path / "run")
    assert (tmp_path / "run/config.yaml").read_text() == "seed_everything: 0\n"


def test_what_a_run_left_that_was_killed_before_it_began_is_taken_over_and_cleared(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in (".lock", ".partial-17-config.yaml"):
        (tmp_path / "run" / name).touch()
    make_folder(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock", "config.yaml"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".partial-17-results.json").touch()
    with pytest.raises(RunFolderError, match="exists already"):
        make_folder(tmp_path / "other")


def test_only_the_run_that_made_the_folder_and_predicted_nothing_removes_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "run")
    RunFolder(tmp_path / "run").discard_unstarted()
    assert (tmp_path / "run/config.yaml").is_file()
    folder.discard_unstarted()
    assert not (tmp_path / "run").exists()
    folder = make_folder(tmp_path / "run")
    folder.commit_task(0, PREDICTIONS, None, None)
    folder.discard_unstarted()
    assert (tmp_path / "run/config.yaml").is_file()


def test_a_task_is_committed_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "run")

    class Unsaveable:
        def __reduce__(self) -> str:
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="disk is full"):
        folder.commit_task(1, PREDICTIONS, {"state_dict": Unsaveable()}, None)
    assert not list((tmp_path / "run/tasks").iterdir())
    assert not [path for path in (tmp_path / "run").rglob("*") if "partial" in path.name]
    rows = Rows(*(torch.arange(2) for _ in Rows._fields))
    folder.commit_task(1, PREDICTIONS, {"state_dict": {"x": torch.ones(1)}}, rows._asdict())
    assert {path.name for path in (tmp_path / "run/tasks/1").iterdir()} == {"checkpoint.ckpt", "memory.parquet"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "run/predictions/task_1.parquet"), PREDICTIONS)


def test_what_is_kept_beside_remembered_images_stands_beside_their_rows(tmp_path: Path) -> None:
    logits = torch.tensor([[0.5, -1.0], [2.0, float("nan")]])
    memory = {"sample": torch.tensor([4, 7]), "fake_logit": torch.tensor([1.5, -2.0]), "method_logits": logits}
    make_folder(tmp_path / "run").commit_task(1, PREDICTIONS, {"state_dict": {}}, memory)
    stored = pd.read_parquet(tmp_path / "run/tasks/1/memory.parquet")
    assert list(stored.columns) == list(memory)
    assert stored["fake_logit"].tolist() == [1.5, -2.0]
    torch.testing.assert_close(torch.tensor(np.stack(stored["method_logits"])), logits, equal_nan=True)


def test_a_number_that_is_not_finite_is_no_json(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "run")
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("x.json", {"auc": float("nan")})
    assert not (tmp_path / "run/x.json").exists()
