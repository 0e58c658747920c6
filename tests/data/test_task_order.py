from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import pytorch_lightning as pl

from continual_df.data.own_scores import own_scores
from continual_df.data.task_order import (
    Arrangement,
    Named,
    TaskOrder,
    arrange,
    by_date,
    by_difficulty,
    by_family,
    by_list,
    by_permutation,
    check_order,
)
from continual_df.errors import StreamError

# releases 2022-12-07, 2019-08, 2021-06, 2017-12 and 2023-07 with 2019-08
TASKS = [
    Named("diffusion", ("sd2.1",)),
    Named("fsgan", ("fsgan",)),
    Named("simswap", ("simswap",)),
    Named("deepfakes", ("deepfakes",)),
    Named("two", ("hyperreenact", "fsgan")),
]


def test_by_date_places_a_task_at_its_earliest_method_and_ties_as_given() -> None:
    found = by_date(TASKS)
    assert found == Arrangement([3, 1, 4, 2, 0], ["2017-12", "2019-08", "2019-08", "2021-06", "2022-12-07"])


def test_a_month_counts_as_its_first_day() -> None:
    tasks = [Named(name, (name,)) for name in "abc"]
    assert by_date(tasks, {"a": "2024-05-02", "b": "2024-05", "c": "2024-05-01"}).positions == [1, 2, 0]


def test_other_spellings_and_sources_of_a_method_have_its_date() -> None:
    tasks = [Named("a", ("SD21@ff",)), Named("b", ("SimSwap",))]
    assert by_date(tasks) == Arrangement([1, 0], ["2021-06", "2022-12-07"])


def test_a_method_without_a_date_is_named_and_can_be_given_one() -> None:
    tasks = [*TASKS, Named("talk", ("heygen",))]
    with pytest.raises(
        StreamError, match=r"'heygen' \(task 6, 'talk'\).*order: \{by: date, dates: \{heygen: 2024-05\}\}"
    ):
        by_date(tasks)
    assert by_date(tasks, {"HeyGen": "2018-01"}).positions == [3, 5, 1, 4, 2, 0]


@pytest.mark.parametrize("day", ["2024", "2024-13", "May 2024", "2024-02-30", "24-05"])
def test_what_is_no_date_is_refused(day: str) -> None:
    with pytest.raises(StreamError, match=f"'{day}', the date of 'heygen', is none"):
        by_date(TASKS, {"heygen": day})


def test_by_family_puts_tasks_of_several_families_last() -> None:
    tasks = [
        Named("m", ("stargan", "simswap")),
        Named("e", ("e4e",)),
        Named("s1", ("fsgan", "simswap")),
        Named("y", ("vqgan",)),
        Named("r", ("lia",)),
        Named("s2", ("e4s",)),
    ]
    assert by_family(tasks) == [2, 5, 4, 3, 1, 0]


def test_a_method_without_a_family_is_named_and_can_be_given_one() -> None:
    tasks = [Named("edit", ("e4e",)), Named("mine", ("my_method",))]
    with pytest.raises(StreamError, match=r"'my_method' \(task 2, 'mine'\).*families: \{my_method: swap\}"):
        by_family(tasks)
    assert by_family(tasks, {"My Method": "reenactment"}) == [1, 0]


def test_by_difficulty_begins_with_the_highest_own_score() -> None:
    scored = [
        (["deepfakes"], 0.6),
        (["SimSwap"], 0.9),
        (["fsgan", "hyperreenact"], 0.7),
        (["fsgan"], 0.7),
        (["sd21"], 0.8),
    ]
    assert by_difficulty(TASKS, scored, "run") == [2, 0, 1, 4, 3]


def test_by_difficulty_takes_the_visits_of_one_task_in_turn() -> None:
    tasks = [Named("a", ("fsgan",)), Named("b", ("e4s",)), Named("a (2)", ("fsgan",))]
    scored = [(["fsgan"], 0.5), (["fsgan"], 0.9), (["e4s"], 0.7)]
    assert by_difficulty(tasks, scored, "run") == [2, 1, 0]
    with pytest.raises(
        StreamError, match=r"'run' has no task \(left\) with the methods of task 3 \('a \(2\)': fsgan\)"
    ):
        by_difficulty(tasks, scored[1:], "run")


@pytest.mark.parametrize("num", [1, 2, 7])
def test_a_permutation_depends_on_its_seed_alone(num: int) -> None:
    found = []
    for outer in (0, 1):
        pl.seed_everything(outer)
        random.seed(outer)
        found.append([by_permutation(num, seed) for seed in range(20)])
    assert found[0] == found[1]
    assert all(sorted(order) == list(range(num)) for order in found[0])
    assert len({tuple(order) for order in found[0]}) > num // 2
    # written down, so that a stream keeps its order in later versions
    assert by_permutation(7, 3) == [3, 1, 0, 6, 4, 2, 5]


def test_a_list_names_every_task_once() -> None:
    names = ["two", "deepfakes", "diffusion", "simswap", "fsgan"]
    assert by_list(TASKS, names) == [4, 3, 0, 2, 1]
    with pytest.raises(StreamError, match="no task is called 'simswop'; did you mean 'simswap'"):
        by_list(TASKS, ["simswop"])
    with pytest.raises(StreamError, match="no further task is called 'two'"):
        by_list(TASKS, ["two", "two"])
    with pytest.raises(StreamError, match="task 'fsgan' is not named"):
        by_list(TASKS, names[:-1])


def test_a_list_repeats_the_name_that_tasks_share() -> None:
    tasks = [Named("a", ("x",)), Named("b", ("y",)), Named("a", ("z",))]
    assert by_list(tasks, ["a", "a", "b"]) == [0, 2, 1]


def test_words_stand_for_orders_without_settings() -> None:
    assert arrange(check_order("given"), TASKS) == Arrangement([0, 1, 2, 3, 4])
    assert arrange(check_order("date"), TASKS) == by_date(TASKS)
    assert check_order("family") == TaskOrder("family")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("dat", "order is 'dat'; write given, date, family"),
        (TaskOrder("date", seed=3), "'seed' goes with by: permutation, not with by: date"),
        (TaskOrder("given", names=["a"]), "'names' goes with by: list"),
        (TaskOrder("difficulty"), "by: difficulty needs more, e.g. run: runs/independent"),
        (TaskOrder("list"), "by: list needs more, e.g. names:"),
        (TaskOrder("permutation"), "by: permutation needs more, e.g. seed: 0"),
    ],
)
def test_an_order_with_the_wrong_settings_is_refused(order: TaskOrder | str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_order(order)


def write_results(run: Path, auc: list[list[float | None]], methods: list[list[str]]) -> Path:
    run.mkdir(exist_ok=True)
    tasks = [{"index": i, "name": "+".join(names), "methods": names} for i, names in enumerate(methods)]
    (run / "results.json").write_text(json.dumps({"tasks": tasks, "matrices": {"auc": auc}}))
    return run


def test_own_scores_are_those_just_after_learning(tmp_path: Path) -> None:
    run = write_results(tmp_path / "run", [[0.1, 0.2], [0.8, 0.3], [0.5, 0.9]], [["a"], ["b", "c"]])
    assert own_scores(run) == [(["a"], 0.8), (["b", "c"], 0.9)]


def test_a_run_that_is_not_finished_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"results\.json' does not exist. Set order\.run"):
        own_scores(tmp_path / "none")
    run = write_results(tmp_path / "run", [[0.1, 0.2], [0.8, 0.3], [None, None]], [["a"], ["b"]])
    with pytest.raises(StreamError, match=r"no AUC of task 2 \('b'\)"):
        own_scores(run)
    (run / "results.json").write_text("[]")
    with pytest.raises(StreamError, match="continual-df evaluate"):
        own_scores(run)
