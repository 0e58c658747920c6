from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from continual_df.errors import ConfigError
from continual_df.search.space import Record, Search, best_record, start_trial

LR = "model.init_args.optimizer.init_args.lr"
SPACE: dict[str, dict[str, Any]] = {
    LR: {"low": 1e-4, "high": 1e-1, "log": True},
    "model.init_args.batch_size": {"low": 2, "high": 9},
}


def record(best: float | None, curve: tuple[float, ...] = (), state: str = "complete") -> Record:
    points = [[epoch, epoch, value, 1.0] for epoch, value in enumerate(curve)]
    values = {LR: 1e-2, "model.init_args.batch_size": 4}
    return {"trial": 0, "values": values, "state": state, "best": best, "curve": points, "flops": 1.0, "seconds": 1.0}


def test_values_depend_on_seed_task_and_number_alone() -> None:
    search = Search(4, SPACE)

    def drawn(seed: int, task: int, number: int) -> dict[str, Any]:
        return dict(start_trial(search, [record(0.5)] * number, seed, task).params)

    assert drawn(0, 1, 2) == drawn(0, 1, 2)
    assert len({str(drawn(*address)) for address in [(0, 1, 2), (1, 1, 2), (0, 2, 2), (0, 1, 3)]}) == 4
    # what earlier trials found has no part in it
    assert start_trial(search, [record(0.9), record(None, state="diverged")], 0, 1).params == drawn(0, 1, 2)


def test_a_logarithmic_range_is_drawn_evenly_in_its_logarithm_and_integers_stay_integers() -> None:
    search = Search(1, SPACE)
    drawn = [start_trial(search, [], seed, 0).params for seed in range(200)]
    logs = np.log10([values[LR] for values in drawn])
    assert np.histogram(logs, bins=[-4, -3, -2, -1])[0].min() > 40
    sizes = {values["model.init_args.batch_size"] for values in drawn}
    assert sizes == set(range(2, 10))
    assert all(isinstance(size, int) for size in sizes)


def test_choices_are_drawn_as_they_stand() -> None:
    search = Search(1, {"model.init_args.freeze_backbone": {"choices": [True, False]}})
    assert {next(iter(start_trial(search, [], seed, 0).params.values())) for seed in range(20)} == {True, False}


@pytest.mark.parametrize(("mode", "place"), [("max", 2), ("min", 0)])
def test_the_best_trial_is_the_first_of_those_with_the_best_value(mode: Any, place: int) -> None:
    records = [record(0.5), record(None), record(0.9), record(0.9, state="pruned"), record(0.5)]
    assert best_record(Search(5, SPACE, mode=mode), records) is records[place]
    assert best_record(Search(5, SPACE), [record(None)]) is None


def test_a_trial_below_the_median_is_pruned_after_as_many_validations_as_asked() -> None:
    records = [record(0.9, (0.8, 0.9)), record(None, (), "diverged"), record(0.8, (0.7, 0.8), "pruned")]
    trial = start_trial(Search(4, SPACE, prune_after=2), records, 0, 0)
    trial.report(0.1, 0)
    assert not trial.should_prune()
    trial.report(0.2, 1)
    assert trial.should_prune()
    never = start_trial(Search(4, SPACE), records, 0, 0)
    never.report(0.2, 1)
    assert not never.should_prune()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": -1}, "search.trials is -1"),
        ({"trials": 2}, "search.space is empty"),
        ({"space": {"model.init_args.memory.init_args.capacity": {"choices": [1]}}}, "acts after a task is trained"),
        ({"prune_after": 0}, "search.prune_after is 0"),
        ({"space": {LR: {"low": 1}}}, "give low and high"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Search(**settings)


def test_an_empty_range_names_its_setting() -> None:
    with pytest.raises(ConfigError, match=rf"'{LR}'.*cannot be drawn from"):
        start_trial(Search(1, {LR: {"low": 2.0, "high": 1.0}}), [], 0, 0)


def test_without_optuna_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"continual-df\[search\]"):
        start_trial(Search(1, SPACE), [], 0, 0)
