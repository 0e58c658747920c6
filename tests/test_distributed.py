"""Two processes with gloo on the CPU against one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from continual_df.cli import main
from continual_df.commands import run as run_command
from continual_df.commands.figures import draw_figures
from continual_df.data.frame_table import FrameTable, write_table

TESTS = Path(__file__).parent


ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}


def arguments(name: str, *flags: str) -> list[str]:
    run = ["-m", "continual_df.cli", "run", "--config", "two.yaml", f"--run_dir={name}", "--trainer.strategy=ddp"]
    return [*run, *flags]


def start(folder: Path, name: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the configuration in ``folder`` in two processes, as a shell would."""
    command = [sys.executable, *arguments(name, "--trainer.devices=2", *flags)]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )


def start_together(folder: Path, commands: list[list[str]], environments: list[dict[str, str]]) -> list[str]:
    """Run ``commands`` beside each other, as two machines or ``srun`` would; return what each printed."""
    processes = [
        subprocess.Popen(command, cwd=folder, env={**ENVIRONMENT, **extra}, stdout=subprocess.PIPE, text=True)
        for command, extra in zip(commands, environments, strict=True)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return outputs


def assert_same_run(one: Path, two: Path) -> None:
    for number in (0, 1, 2):
        first, second = (pd.read_parquet(run / f"predictions/task_{number}.parquet") for run in (one, two))
        assert first["sample"].tolist() == second["sample"].tolist()
        np.testing.assert_allclose(second["logit_fake"], first["logit_fake"], atol=1e-6, rtol=0)
    for number in (1, 2):
        pd.testing.assert_frame_equal(*(pd.read_parquet(run / f"tasks/{number}/memory.parquet") for run in (two, one)))
    assert files(one) == files(two)


def files(run: Path) -> list[str]:
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_command, "draw_figures", draw_figures)  # as the processes of the other run do
        assert main(["run", "--config", str(folder / "one.yaml"), f"--run_dir={folder / 'one'}"]) == 0
    result = start(folder, "two")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("task 2/2 smooth") == 1
    return folder


def test_two_processes_give_the_run_of_one(folder: Path) -> None:
    assert_same_run(folder / "one", folder / "two")
    assert pd.read_parquet(folder / "two/predictions/task_2.parquet")["logit_fake"].std() > 0.01


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
    assert files(folder / "one") == files(folder / "two")
    metrics = pd.read_csv(folder / "two" / "metrics.csv")
    assert not metrics.duplicated(["task", "epoch", "step", "metric"]).any()
    assert len(metrics) == len(pd.read_csv(folder / "one" / "metrics.csv"))


@pytest.mark.slow
def test_torchrun_gives_the_same_run(folder: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    result = subprocess.run(
        [*torchrun, *arguments("torchrun", "--trainer.devices=2")],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("task 2/2 smooth") == 1
    assert_same_run(folder / "one", folder / "torchrun")


@pytest.mark.slow
def test_two_nodes_of_one_process_give_the_same_run(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", f"--node_rank={node}"),
            *("--master_addr=127.0.0.1", f"--master_port={port}"),
            *arguments("nodes", "--trainer.devices=1", "--trainer.num_nodes=2"),
        ]
        for node in (0, 1)
    ]
    first, second = start_together(folder, nodes, [{}, {}])
    assert first.count("task 2/2 smooth") == 1
    assert second == ""
    assert_same_run(folder / "one", folder / "nodes")


@pytest.mark.slow
def test_the_variables_of_srun_give_the_same_run(folder: Path) -> None:
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NAME": "stream", "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}
    job |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1"}
    tasks = [{**job, "SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]
    first, second = start_together(folder, [[sys.executable, *arguments("slurm", "--trainer.devices=2")]] * 2, tasks)
    assert first.count("task 2/2 smooth") == 1
    assert second == ""
    assert_same_run(folder / "one", folder / "slurm")


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
