"""Small runs of the whole program on the toy stream, in children of a process that has everything imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from continual_df import methods
from continual_df.data.frame_table import FrameTable, write_table
from tests.toy import METHOD_CLASSES, method_arguments

TESTS = Path(__file__).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}


class Ended(NamedTuple):
    """How a child ended: status (or minus the signal), CPU seconds, and writes that it made."""

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
        self.warm = False

    def __call__(self, argv: list[str], log: Path, **how: Any) -> Ended:
        """Run the command line ``argv``; ``how`` it ends: see ``fork_server.py``."""
        usual: dict[str, Any] = {
            "seconds": None,
            "group": False,
            "call": None,
            "number": signal.SIGKILL,
            "errno": None,
            "size": None,
            "environment": {},
        }
        assert how.keys() <= usual.keys()
        order = {"argv": argv, "log": str(log), **usual, **how}
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


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def small_table(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train\d|val[0-2]|test[0-3]")]
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), path)
    return path


def small_config(table: Path, method: str = "Replay", **trainer: Any) -> dict[str, Any]:
    """Return a configuration with whatever a resumed run must bring back; open-world methods have images without a label."""
    labelled = 0.5 if issubclass(METHOD_CLASSES[method], methods.OpenWorld) else 1.0
    tasks = [{"methods": [name], "labelled": labelled} for name in ("columns", "smooth")]
    return {
        "seed_everything": 1,
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "log_every_n_steps": 1,
            "callbacks": [
                {"class_path": "ModelCheckpoint", "init_args": {"monitor": "val/auc", "mode": "max"}},
                {"class_path": "LearningRateMonitor"},
                {"class_path": "toy.StepCounter"},
            ],
            **trainer,
        },
        "model": {
            "class_path": method,
            "init_args": {
                "detector": {"class_path": "toy.NoisyDetector"},
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.03}},
                "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.ExponentialLR", "init_args": {"gamma": 0.8}},
                "batch_size": 6,
                **method_arguments(method),
            },
        },
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(table)}}],
                "tasks": tasks,
            },
        },
        "checkpoint": {"every_n_steps": 2, "every_minutes": None},
    }


class SmallRuns:
    """Runs of one configuration, and what an unbroken one leaves."""

    def __init__(self, server: ForkServer, folder: Path, config: dict[str, Any]) -> None:
        self.server, self.folder = server, folder
        self.config = folder / "config.yaml"
        self.config.write_text(yaml.safe_dump(config))
        if not server.warm:  # the first run of a server imports what later ones find imported
            assert self.start("warm").status == 0, self.log("warm")
            server.warm = True
        self.whole = self.start("whole")
        assert self.whole.status == 0, self.log("whole")
        self.expected = fingerprint(folder / "whole")

    def start(self, name: str, *flags: str, **how: Any) -> Ended:
        """Begin run ``name``; ``how``: see `ForkServer`."""
        argv = ["run", "--config", str(self.config), "--run_dir", str(self.folder / name), *flags]
        return self.server(argv, self.folder / f"{name}.log", **how)

    def resume(self, name: str, *flags: str, **how: Any) -> Ended:
        """Go on with run ``name``, or begin it where it has not begun."""
        if not (self.folder / name / "config.yaml").exists():
            return self.start(name, *flags, **how)
        argv = ["run", "--resume", str(self.folder / name), *flags]
        return self.server(argv, self.folder / f"{name}.log", **how)

    def check(self, name: str) -> None:
        """Resume to the end and compare with the unbroken run."""
        ended = self.resume(name)
        assert ended.status == 0, self.log(name)
        found = fingerprint(self.folder / name)
        assert found.keys() == self.expected.keys()
        assert [key for key in found if found[key] != self.expected[key]] == []

    def log(self, name: str) -> str:
        """Return what the processes of run ``name`` have printed."""
        return (self.folder / f"{name}.log").read_text()


def fingerprint(run: Path) -> dict[str, bytes]:
    """Return everything that a run leaves, but for times: files as bytes, checkpoints tensor by tensor."""
    found: dict[str, bytes] = {}
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        name = str(path.relative_to(run))
        if path.suffix == ".ckpt":
            state = torch.load(path, weights_only=True)["state_dict"]
            found |= {f"{name}:{key}": tensor.numpy().tobytes() for key, tensor in tensors_of(state, "")}
        elif name == "compute.json":
            for task in json.loads(path.read_text())["tasks"]:
                for phase, cost in task["phases"].items():
                    kept = {key: cost[key] for key in ("flops", "images", "steps")}
                    found[f"{name}:{task['task']}.{phase}"] = json.dumps(kept).encode()
        elif path.name == "search.json":
            trials = json.loads(path.read_text())["trials"]
            found[name] = json.dumps([{**trial, "seconds": None} for trial in trials]).encode()
        elif name not in (".lock", "config.yaml"):
            found[name] = path.read_bytes()
    return found


def tensors_of(state: dict[str, Any], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every tensor in a state dict, those in extra states too."""
    for key, value in state.items():
        if isinstance(value, dict):
            yield from tensors_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", torch.as_tensor(value)
