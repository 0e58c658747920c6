"""A run that is killed, however often and wherever, and resumed, ends as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml

from continual_df.data.frame_table import FrameTable, write_table
from tests.toy import METHOD_CLASSES, method_arguments

TESTS = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}

SETTINGS = {
    "usual": {},
    "accumulating": {"accumulate_grad_batches": 2, "gradient_clip_val": 1.0},
    "validating within epochs": {"val_check_interval": 2},
    "by steps": {"max_steps": 7, "max_epochs": -1, "check_val_every_n_epoch": 2},
}
"""Settings of the Trainer under which kills are tried; the method is Replay in all but the first."""

CASES = [(name, "usual") for name in METHOD_CLASSES] + [("Replay", name) for name in list(SETTINGS)[1:]]


class Ended(NamedTuple):
    status: int
    seconds: float
    calls: int


class ForkServer:
    """Starts runs in children of one process that has imported everything."""

    def __init__(self) -> None:
        command = [sys.executable, str(TESTS / "fork_server.py")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True)
        assert self._read() == "ready"

    def __call__(self, argv: list[str], log: Path, seconds: float | None = None, call: int | None = None) -> Ended:
        order = {"argv": argv, "log": str(log), "seconds": seconds, "call": call}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self._read()))

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def table(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train\d|val[0-2]|test[0-3]")]
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), path)
    return path


class Case:
    """One stream, its unbroken run, and runs of it that are killed."""

    def __init__(self, server: ForkServer, folder: Path, table: Path, method: str, settings: str) -> None:
        self.server, self.folder = server, folder
        self.config = folder / "config.yaml"
        config: dict[str, Any] = {
            "seed_everything": 1,
            "trainer": {
                "max_epochs": 3,
                "accelerator": "cpu",
                "enable_progress_bar": False,
                "log_every_n_steps": 1,
                "callbacks": [
                    {"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/auc", "mode": "max"}},
                    {"class_path": "LearningRateMonitor"},
                ],
                **SETTINGS[settings],
            },
            "model": {
                "class_path": method,
                "init_args": {
                    "detector": {"class_path": "toy.NoisyDetector"},
                    "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.03}},
                    "lr_scheduler": {
                        "class_path": "torch.optim.lr_scheduler.ExponentialLR",
                        "init_args": {"gamma": 0.8},
                    },
                    "batch_size": 6,
                    **method_arguments(method),
                },
            },
            "data": {
                "class_path": "ForgeryStream",
                "init_args": {
                    "tables": [{"class_path": "TableFile", "init_args": {"path": str(table)}}],
                    "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
                },
            },
            "checkpoint": {"every_n_steps": 2, "every_minutes": None},
        }
        self.config.write_text(yaml.safe_dump(config))
        self.whole = self.start("whole")
        assert self.whole.status == 0, self.log("whole")
        self.expected = fingerprint(folder / "whole")

    def start(self, name: str, **kill: Any) -> Ended:
        argv = ["run", "--config", str(self.config), "--run_dir", str(self.folder / name)]
        return self.server(argv, self.folder / f"{name}.log", **kill)

    def resume(self, name: str, **kill: Any) -> Ended:
        if not (self.folder / name / "config.yaml").exists():  # killed before it had begun
            return self.start(name, **kill)
        argv = ["run", "--resume", str(self.folder / name)]
        return self.server(argv, self.folder / f"{name}.log", **kill)

    def check(self, name: str) -> None:
        """Resume to the end and compare with the unbroken run."""
        ended = self.resume(name)
        assert ended.status == 0, self.log(name)
        found = fingerprint(self.folder / name)
        assert found.keys() == self.expected.keys()
        assert [key for key in found if found[key] != self.expected[key]] == []

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


def fingerprint(run: Path) -> dict[str, bytes]:
    """Return everything that a run leaves, but for times: files as bytes, checkpoints tensor by tensor."""
    found = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if path.suffix == ".ckpt":
            state = torch.load(path, weights_only=True)["state_dict"]
            for key, value in state.items():
                rows = value if isinstance(value, dict) else {"": value}
                found |= {f"{name}:{key}.{part}": tensor.numpy().tobytes() for part, tensor in rows.items()}
        elif name == "compute.json":
            for task in json.loads(path.read_text())["tasks"]:
                for phase, cost in task["phases"].items():
                    kept = {key: cost[key] for key in ("flops", "images", "steps")}
                    found[f"{name}:{task['task']}.{phase}"] = json.dumps(kept).encode()
        elif name not in (".lock", "config.yaml"):
            found[name] = path.read_bytes()
    return found


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case).replace(" ", "_"))
def case(
    request: pytest.FixtureRequest, server: ForkServer, table: Path, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    return Case(server, tmp_path_factory.mktemp("kills"), table, *request.param)


def test_two_kills_at_random_moments_leave_no_trace(case: Case) -> None:
    rng = np.random.default_rng(0)
    for seconds in rng.uniform(0.2, 1.0, 2) * case.whole.seconds:
        case.resume("twice", seconds=float(seconds))
    case.check("twice")


@pytest.mark.slow
def test_thirty_kills_at_random_moments_leave_no_trace(case: Case) -> None:
    rng = np.random.default_rng(1)
    killed = 0
    for number in range(30):
        name = f"random{number}"
        killed += case.resume(name, seconds=float(rng.uniform(0, case.whole.seconds))).status == -signal.SIGKILL
        case.check(name)
    assert killed > 20


@pytest.mark.slow
def test_a_kill_at_every_write_leaves_no_trace(case: Case) -> None:
    for number in range(case.whole.calls):
        name = f"write{number}"
        assert case.start(name, call=number).status == -signal.SIGKILL
        case.check(name)


@pytest.mark.slow
def test_a_run_that_is_killed_all_the_time_comes_to_its_end(case: Case) -> None:
    rng = np.random.default_rng(2)
    for _ in range(12):
        case.resume("again", seconds=float(rng.uniform(0.3, 0.7) * case.whole.seconds))
    case.check("again")
