"""A run that is killed, however often and wherever, and resumed, ends as if it had not been."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_runs import ForkServer, SmallRuns, small_config
from tests.toy import METHOD_CLASSES

SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "validating by steps": {"check_val_every_n_epoch": None, "val_check_interval": 3, "gradient_clip_val": 1.0},
    "changing by epoch": {
        "callbacks": [
            {"class_path": "GradientAccumulationScheduler", "init_args": {"scheduling": {0: 2, 2: 1}}},
            {"class_path": "EarlyStopping", "init_args": {"monitor": "val/auc", "mode": "min", "patience": 1}},
        ],
        "min_epochs": 3,
        "reload_dataloaders_every_n_epochs": 2,
    },
    "by steps": {"max_steps": 7, "max_epochs": -1, "check_val_every_n_epoch": 2},
}
"""Settings of the Trainer under which kills are tried; the method is Replay in all but the first."""

KINDS = ("Replay", "SURLID", "DERpp", "OpenWorldStream", "Transfer")
"""A method for each kind of state: rows, a teacher, values beside rows, prototypes, past models. The others are killed by
``make test-slow``."""

CASES = [
    pytest.param((name, "usual"), marks=[] if name in KINDS else pytest.mark.slow, id=f"{name}-usual")
    for name in METHOD_CLASSES
] + [pytest.param(("Replay", name), id=f"Replay-{name.replace(' ', '_')}") for name in list(SETTINGS)[1:]]


@pytest.fixture(scope="module", params=CASES)
def runs(
    request: pytest.FixtureRequest, fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> SmallRuns:
    method, settings = request.param
    config = small_config(small_table, method, **SETTINGS[settings])
    return SmallRuns(fork_server, tmp_path_factory.mktemp("kills"), config)


SEARCH = {
    "trials": 3,
    "space": {"model.init_args.optimizer.init_args.lr": {"low": 0.003, "high": 0.3, "log": True}},
    "prune_after": 1,
}


@pytest.mark.parametrize("method", [pytest.param("Replay", marks=pytest.mark.slow), "Transfer"])
def test_a_search_that_is_killed_within_a_trial_ends_as_if_it_had_not_been(
    method: str, fork_server: ForkServer, small_table: Path, tmp_path: Path
) -> None:
    config = {**small_config(small_table, method, callbacks=[{"class_path": "toy.StepCounter"}]), "search": SEARCH}
    config["model"]["init_args"] |= {"initial": "nearest"} if method == "Transfer" else {}
    runs = SmallRuns(fork_server, tmp_path, config)
    for share in (0.3, 0.5):
        assert runs.resume("twice", call=int(share * runs.whole.calls)).status == -signal.SIGKILL, runs.log("twice")
    runs.check("twice")


def test_labels_that_a_method_gave_itself_are_trained_on_after_a_kill_within_the_task(
    fork_server: ForkServer, small_table: Path, tmp_path: Path
) -> None:
    config = small_config(small_table, "CPL", callbacks=[])
    config["model"]["init_args"]["self_labelled"] = 0.5
    stage = {"methods": ["columns"], "unlabelled": ["smooth"], "labelled": 0.5}
    config["data"]["init_args"]["tasks"] = [{**stage, "name": "first"}, {**stage, "name": "second"}]
    runs = SmallRuns(fork_server, tmp_path, config)
    labels = json.loads((tmp_path / "whole" / "tasks" / "2" / "pseudo_labels.json").read_text())
    assert labels["sample"]
    assert runs.resume("killed", call=int(0.6 * runs.whole.calls)).status == -signal.SIGKILL, runs.log("killed")
    assert list((tmp_path / "killed" / "steps" / "2").glob("step_*"))
    runs.check("killed")


def test_two_kills_at_random_writes_leave_no_trace(runs: SmallRuns) -> None:
    rng = np.random.default_rng(0)
    within: list[Path] = []
    for share in rng.uniform(0.2, 0.35, 2):  # of the writes of a whole run: in the first task, mostly, then the second
        ended = runs.resume("twice", call=int(share * runs.whole.calls))
        assert ended.status == -signal.SIGKILL, runs.log("twice")
        within += (runs.folder / "twice" / "steps").glob("*/step_*")
    assert within
    runs.check("twice")


def test_resuming_what_is_finished_changes_nothing(runs: SmallRuns) -> None:
    runs.check("whole")


@pytest.mark.slow
def test_thirty_kills_at_random_moments_leave_no_trace(runs: SmallRuns) -> None:
    rng = np.random.default_rng(1)
    killed = 0
    for number in range(30):
        name = f"random{number}"
        killed += runs.resume(name, seconds=float(rng.uniform(0, runs.whole.seconds))).status == -signal.SIGKILL
        runs.check(name)
    assert killed > 20


@pytest.mark.slow
def test_a_kill_at_every_write_leaves_no_trace(runs: SmallRuns, request: pytest.FixtureRequest) -> None:
    stride = 1 if "Replay-usual" in request.node.name else 7  # the writes are those of the loop, whatever trains
    for number in range(0, runs.whole.calls, stride):
        name = f"write{number}"
        assert runs.start(name, call=number).status == -signal.SIGKILL
        runs.check(name)


@pytest.mark.slow
def test_a_run_that_is_killed_all_the_time_comes_to_its_end(runs: SmallRuns) -> None:
    rng = np.random.default_rng(2)
    for _ in range(12):
        runs.resume("again", seconds=float(rng.uniform(0.3, 0.7) * runs.whole.seconds))
    runs.check("again")
