"""A run that is told to stop, or to give its machine back, saves where it is."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from continual_df.errors import Interrupted
from continual_df.stop_signals import StopSignals
from tests.small_runs import ForkServer, SmallRuns, fingerprint, small_config


@pytest.fixture(scope="module")
def runs(fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRuns:
    config = small_config(small_table)
    config["checkpoint"] = {"every_minutes": 60}  # what is saved is saved for the signal
    return SmallRuns(fork_server, tmp_path_factory.mktemp("signals"), config)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(runs: SmallRuns, number: int, status: int) -> None:
    name = f"signal{number}"
    for share in np.random.default_rng(number).uniform(0.2, 0.35, 2):  # of its writes: a busy machine cannot move them
        ended = runs.resume(name, call=int(share * runs.whole.calls), number=number)
        assert ended.status == status, runs.log(name)
        last = runs.log(name).splitlines()[-1]
        assert last.startswith(f"Stopped by {signal.Signals(number).name}. ")
        assert f"continual-df run --resume {runs.folder / name}" in last or last.endswith("Nothing had been written.")
    runs.check(name)


def test_a_signal_in_a_step_loses_no_step(runs: SmallRuns) -> None:
    flags = ("--model.detector=toy.SignalledDetector",)
    ended = runs.start("mid", *flags)
    assert ended.status == 143, runs.log("mid")
    (saved,) = (runs.folder / "mid" / "steps" / "1").iterdir()
    assert saved.name == "step_000000003.ckpt"  # three steps were done when the signal came in the third


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_not_taken_for_a_dead_worker(runs: SmallRuns, number: int) -> None:
    name, workers = f"group{number}", "--data.init_args.num_workers=1"
    for moment in (0.5, 0.6):
        ended = runs.resume(name, workers, seconds=moment * runs.whole.seconds, number=number, group=True)
        assert ended.status == 128 + number, runs.log(name)
        assert "continual-df run: " not in runs.log(name)
    runs.check(name)


@pytest.mark.slow
def test_a_signal_at_any_write_leaves_no_trace(runs: SmallRuns) -> None:
    for call in range(0, runs.whole.calls, 2):
        name = f"write{call}"
        assert runs.start(name, call=call, number=signal.SIGTERM).status in (0, 143), runs.log(name)
        runs.check(name)


def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", lambda status: (_ for _ in ()).throw(SystemExit(status)))
    signals = StopSignals()
    with signals.handled():
        signals.defer()
        signal.raise_signal(signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        with pytest.raises(SystemExit, match="130"):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_acts_at_once_unless_deferred_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    signals = StopSignals()
    with signals.handled(), pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGINT)
    assert caught.value.signum == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) == before
    later = StopSignals()
    with later.handled():
        later.defer()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            later.act()


def test_slurm_gets_its_machine_back_between_two_steps(runs: SmallRuns, tmp_path: Path) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\n")
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    slurm = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "stream", "SLURM_JOB_ID": "17", "SLURM_LOCALID": "0"}
    slurm |= {"SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_NODELIST": "localhost"}
    slurm["PATH"] = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    for part in (0.1, 0.6, 0.9):  # while the data is read, in training, in the last evaluation
        name = f"slurm{part}"
        ended = runs.start(name, seconds=part * runs.whole.seconds, number=signal.SIGUSR1, environment=slurm)
        assert ended.status in (0, -signal.SIGUSR1), runs.log(name)
        assert not list((runs.folder / name).rglob("hpc_ckpt*"))
        runs.check(name)
    asked = runs.start(
        "inside", "--model.detector=toy.SignalledDetector", environment={**slurm, "TOY_SIGNAL": "SIGUSR1"}
    )
    assert asked.status == 0
    assert "requeue 17" in (tmp_path / "asked").read_text().splitlines()
    torch.save(
        {}, runs.folder / "inside" / "hpc_ckpt_1.ckpt"
    )  # of a handler that was killed before it could be removed
    again = runs.resume("inside", environment=slurm)
    assert again.status == 0, runs.log("inside")
    found = fingerprint(runs.folder / "inside")
    assert [name for name in found if found[name] != runs.expected[name]] == []
