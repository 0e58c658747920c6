"""The program as a shell starts it, killed and started again; one process a run, and two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_runs import ENVIRONMENT, ForkServer, SmallRuns, fingerprint, small_config

DEADLINE = 180
TWO = ("--trainer.strategy=ddp", "--trainer.devices=2", "--model.batch_size=5")  # no process gets a single row


def start(runs: SmallRuns, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "continual_df.cli", "run", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=runs.folder, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )


def kill_when(process: subprocess.Popen[str], run: Path, pattern: str) -> None:
    """Kill ``process`` and those that it has started as soon as a file of ``run`` fits ``pattern``."""
    deadline = time.monotonic() + DEADLINE
    while not list(run.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def runs(fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRuns:
    return SmallRuns(fork_server, tmp_path_factory.mktemp("real"), small_config(small_table))


def test_three_processes_of_which_two_are_killed_do_what_one_does(runs: SmallRuns) -> None:
    run = runs.folder / "run"
    first = start(runs, "--config", "config.yaml", "--run_dir", "run")
    kill_when(first, run, "steps/1/step_*")
    second = start(runs, "--resume", "run")
    kill_when(second, run, "tasks/1")
    third = finish(start(runs, "--resume=run", "--data.init_args.num_workers=1"))
    assert third.count("AUC of all tasks") == 2  # the committed task is reported again
    found = {name: content for name, content in fingerprint(run).items() if not name.startswith("figures")}
    assert found == runs.expected
    assert (run / "figures" / "forgetting_curves_auc.png").is_file()


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_as_two_and_as_one(runs: SmallRuns) -> None:
    finish(start(runs, "--config", "config.yaml", "--run_dir", "two", *TWO))
    whole = fingerprint(runs.folder / "two")
    for name, pattern, flags in (
        ("again", "steps/1/step_*", ()),
        ("later", "steps/2/step_*", ()),
        ("alone", "steps/2/step_*", ("--trainer.strategy=auto", "--trainer.devices=1")),
    ):
        run = runs.folder / name
        kill_when(start(runs, "--config", "config.yaml", "--run_dir", name, *TWO), run, pattern)
        finish(start(runs, "--resume", name, *flags))
        found = fingerprint(run)
        assert found.keys() == whole.keys()
        if name == "alone":  # equal batches, but not the batch statistics of two halves
            assert found["tasks/2/memory.parquet"] == whole["tasks/2/memory.parquet"]
            assert [key for key in found if key.startswith("compute") and found[key] != whole[key]] == []
        else:
            assert [key for key in found if found[key] != whole[key]] == []


@pytest.mark.slow
def test_two_processes_stop_together_for_a_signal_to_one(runs: SmallRuns) -> None:
    process = start(runs, "--config", "config.yaml", "--run_dir", "stopped", *TWO)
    deadline = time.monotonic() + DEADLINE
    while not list((runs.folder / "stopped").glob("steps/1/*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 143, err
    assert "Stopped by SIGTERM. Continue with: continual-df run --resume stopped" in out
    finish(start(runs, "--resume", "stopped"))
