"""Two processes with gloo on the CPU against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from continual_df.cli import main
from continual_df.data.frame_table import FrameTable, write_table

TESTS = Path(__file__).parent


def start(folder: Path, name: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the configuration in ``folder`` in two processes, as a shell would."""
    command = [sys.executable, "-m", "continual_df.cli", "run", "--config", "two.yaml", f"--run_dir={name}"]
    command += ["--trainer.strategy=ddp", "--trainer.devices=2", *flags]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def folder(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs ``one`` and ``two``, with as many processes."""
    folder = tmp_path_factory.mktemp("distributed")
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train\d|val[0-3]|test[0-4]")]  # 10, 4 and 5 groups
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), folder / "t.parquet")
    config: dict[str, Any] = {
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "devices": 1,
            "enable_progress_bar": False,
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/auc", "mode": "max"}}],
        },
        "model": {
            "class_path": "Replay",
            "init_args": {
                "detector": {},
                "memory": {"class_path": "ReplayMemory", "init_args": {"capacity": 8}},
                "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01}},
                "batch_size": 4,
                "replay_per_batch": 2,
            },
        },
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(folder / "t.parquet")}}],
                "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
            },
        },
    }
    for name, module in (("one", "tests.toy"), ("two", "toy")):  # another package may be called tests out there
        config["model"]["init_args"]["detector"]["class_path"] = f"{module}.TinyDetector"
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "--config", str(folder / "one.yaml"), f"--run_dir={folder / 'one'}"]) == 0
    result = start(folder, "two")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("task 2/2 smooth") == 1
    return folder


def test_predictions_agree_with_one_process(folder: Path) -> None:
    for number in (0, 1, 2):
        one, two = (pd.read_parquet(folder / run / f"predictions/task_{number}.parquet") for run in ("one", "two"))
        assert one["sample"].tolist() == two["sample"].tolist()
        np.testing.assert_allclose(two["logit_fake"], one["logit_fake"], atol=1e-6, rtol=0)
    assert one["logit_fake"].std() > 0.01


def test_weights_and_memory_agree_with_one_process(folder: Path) -> None:
    for number in (1, 2):
        one, two = (folder / run / f"tasks/{number}" for run in ("one", "two"))
        pd.testing.assert_frame_equal(pd.read_parquet(two / "memory.parquet"), pd.read_parquet(one / "memory.parquet"))
        first, second = (torch.load(path / "checkpoint.ckpt", weights_only=True)["state_dict"] for path in (one, two))
        assert first.keys() == second.keys()
        for name in ("detector.filters.weight", "head.weight", "head.bias"):
            torch.testing.assert_close(second[name], first[name], atol=1e-6, rtol=0)


def test_costs_are_those_of_all_processes(folder: Path) -> None:
    one, two = (json.loads((folder / run / "compute.json").read_text()) for run in ("one", "two"))
    assert [entry["task"] for entry in two["tasks"]] == [0, 1, 2]
    for first, second in zip(one["tasks"], two["tasks"], strict=True):
        assert first["phases"].keys() == second["phases"].keys()
        for phase in first["phases"]:
            for quantity in ("flops", "images"):
                expected = first["phases"][phase][quantity]
                assert second["phases"][phase][quantity] == pytest.approx(expected, rel=1e-6), (first["task"], phase)


def test_the_first_process_alone_writes(folder: Path) -> None:
    names = [
        sorted(str(path.relative_to(folder / run)) for path in (folder / run).rglob("*") if path.is_file())
        for run in ("one", "two")
    ]
    assert names[0] == names[1]
    metrics = pd.read_csv(folder / "two" / "metrics.csv")
    assert not metrics.duplicated(["task", "epoch", "step", "metric"]).any()
    assert len(metrics) == len(pd.read_csv(folder / "one" / "metrics.csv"))


@pytest.mark.slow
def test_a_failure_in_training_ends_all_processes(folder: Path) -> None:
    result = start(folder, "broken", "--model.optimizer.lr=1e30")
    assert result.returncode != 0
    assert "The loss is not finite in task 1 ('columns')" in result.stderr


@pytest.mark.slow
def test_a_run_folder_that_exists_is_refused_in_all_processes(folder: Path) -> None:
    result = start(folder, "two")
    assert result.returncode == 2
    assert result.stderr.count("exists already") == 1
