"""Searches through the command line, on the toy stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from continual_df.cli import main
from tests.small_runs import small_config
from tests.toy import NoisyDetector

LR = "model.init_args.optimizer.init_args.lr"
RATES: dict[str, Any] = {LR: {"low": 1e-4, "high": 0.3, "log": True}}


def run(folder: Path, table: Path, method: str = "Replay", name: str = "run", **changed: Any) -> Path:
    """Run a search of three trials on two tasks, with ``changed`` settings; return the run folder."""
    config = small_config(table, method, callbacks=[], max_epochs=2)
    config |= {"run_dir": str(folder / name), "search": {"trials": 3, "space": RATES, **changed.pop("search", {})}}
    detector = {"class_path": "tests.toy.NoisyDetector"}
    config["model"]["init_args"] |= {"detector": detector, **changed.pop("model", {})}
    path, status = folder / f"{name}.yaml", changed.pop("status", 0)
    path.write_text(yaml.safe_dump({**config, **changed}))
    assert main(["run", "--config", str(path)]) == status
    return folder / name


def trials(folder: Path, task: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "tasks" / str(task) / "search.json").read_text())["trials"]
    return found


@pytest.fixture(scope="module")
def searched(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("search"), small_table)


def test_every_task_has_its_own_trials_and_the_same_ones_again(
    searched: Path, small_table: Path, tmp_path: Path
) -> None:
    again = run(tmp_path, small_table)
    for task in (1, 2):
        first, second = trials(searched, task), trials(again, task)
        assert [t["values"] for t in first] == [t["values"] for t in second]
        assert [t["curve"] for t in first] == [t["curve"] for t in second]
    assert {t["values"][LR] for t in trials(searched, 1)}.isdisjoint({t["values"][LR] for t in trials(searched, 2)})
    state = [torch.load(f / "tasks/2/checkpoint.ckpt", weights_only=True)["state_dict"] for f in (searched, again)]
    assert all(
        torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        for a, b in zip(*(s.values() for s in state), strict=True)
        if isinstance(a, torch.Tensor)
    )


def test_all_trials_are_paid_for_chosen_or_not(searched: Path) -> None:
    for entry in json.loads((searched / "compute.json").read_text())["tasks"][1:]:
        found = trials(searched, entry["task"])
        phases = entry["phases"]
        assert phases["search"]["flops"] == pytest.approx(sum(t["flops"] for t in found))
        assert {"train", "replay", "validate"}.isdisjoint(phases)
        assert len({t["flops"] for t in found}) == 1  # the same work at another rate


def test_the_weights_are_those_of_the_best_validation_of_all_trials(searched: Path) -> None:
    log = pd.read_csv(searched / "metrics.csv")
    for task in (1, 2):
        found = trials(searched, task)
        assert all(t["best"] == max(point[2] for point in t["curve"]) for t in found)
        best = max(t["best"] for t in found)
        logged = log[(log["task"] == task) & (log["metric"] == "val/auc")]["value"]
        assert logged.max() == pytest.approx(best)
        frame, member = pd.read_parquet(searched / "frames.parquet"), pd.read_parquet(searched / "membership.parquet")
        own = member[(member["task"] == task - 1) & (member["split"] == "val")]["sample"]
        said = pd.read_parquet(searched / "predictions" / f"task_{task}.parquet").set_index("sample").loc[own]
        fakes = frame.loc[own, "label"].to_numpy() == 1
        wins = [(f > r) + 0.5 * (f == r) for f in said[fakes]["logit_fake"] for r in said[~fakes]["logit_fake"]]
        assert sum(wins) / len(wins) == pytest.approx(best, abs=1e-6)


def test_a_rate_that_diverges_is_a_trial_and_no_failure(small_table: Path, tmp_path: Path) -> None:
    space = {"model.init_args.detector.init_args.blow_up": {"choices": [False, True]}}
    detector = {"class_path": f"{__name__}.BlownUp", "init_args": {"blow_up": False}}
    found = trials(run(tmp_path, small_table, search={"space": space, "trials": 6}, model={"detector": detector}), 1)
    ended = {t["values"]["model.init_args.detector.init_args.blow_up"]: (t["state"], t["best"] is None) for t in found}
    assert ended == {True: ("diverged", True), False: ("complete", False)}


class BlownUp(NoisyDetector):
    """Gives NaN while it trains, if it is told so."""

    def __init__(self, blow_up: bool) -> None:
        super().__init__()
        self.blow_up = blow_up

    def forward(self, image: torch.Tensor) -> Any:
        features = super().forward(image)
        return features._replace(pooled_BD=features.pooled_BD * torch.nan) if self.blow_up else features


def test_if_all_trials_diverge_the_run_says_so(
    small_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = {"class_path": f"{__name__}.BlownUp", "init_args": {"blow_up": True}}
    run(tmp_path, small_table, model={"detector": detector}, status=2)
    assert "none of 3 trials has reached a validation with a finite val/auc" in capsys.readouterr().err


def test_a_budget_is_shared_out_evenly(searched: Path, small_table: Path, tmp_path: Path) -> None:
    whole = sum(t["flops"] for t in trials(searched, 1))
    found = trials(run(tmp_path, small_table, max_flops=0.75 * whole), 1)
    spent = [t["flops"] for t in found]
    assert max(spent) < 1.4 * min(spent)  # a trial ends with the step that passes its share
    assert sum(spent) < 0.95 * whole


def test_a_trial_that_would_read_another_task_is_refused(
    small_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, small_table, method="Joint", status=2)
    assert "would read 3 images of task(s) [1] that its method has not kept in a memory" in capsys.readouterr().err
    assert (tmp_path / "run" / "tasks" / "1" / "search.json").is_file()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {"space": {"model.init_args.optimizer.init_args.rate": {"choices": [1]}}},
            "did you mean 'model.init_args.optimizer.init_args.lr'",
        ),
        ({"space": {LR: {"low": 1}}}, "give low and high"),
        (
            {"space": {"model.init_args.detector.class_path": {"choices": ["tests.toy.TinyDetector"]}}},
            "has other weights",
        ),
        ({"monitor": "val/top9"}, "'val/top9', which no validation has logged; there are val/auc, val/loss"),
        ({"space": {"model.init_args.batch_size": {"choices": [0]}}}, "batch_size must be at least 1, got 0"),
    ],
)
def test_settings_that_cannot_be_searched_are_refused(
    search: dict[str, Any], message: str, small_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, small_table, search=search, status=2)
    assert message in capsys.readouterr().err
