from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from continual_df.evaluation.cost_summary import COST_COLUMNS, by_task, cost_columns
from continual_df.evaluation.run_costs import read_costs
from tests.cost_runs import write_costs

TASKS = [{"pretrain": 5e9}, {"train": 2e9, "search": 1e9, "validate": 1e9}, {"train": 1e10 / 3, "predict": 1e9}]
RESULT: dict[str, Any] = {
    # the same task twice: positions, never names, tell them apart
    "tasks": [{"name": "swap", "num_real": 4, "num_fake": 6}, {"name": "swap", "num_real": 1, "num_fake": 2}],
    "matrices": {
        "auc": [[0.5, 0.5], [0.9, 0.6], [0.8, 0.95]],
        "acc": [[0.5, 0.5], [0.8, 0.6], [0.8, None]],
        "top1": [[None, None]] * 3,
    },
}


def test_row_has_every_task_as_it_was_learnt_and_what_it_cost(tmp_path: Path) -> None:
    sizes = {"parameters": {"total": 7}, "stored_bytes": {"model": 28, "memory": 2}}
    write_costs(tmp_path, TASKS, sizes=sizes, notes=["One.", "Two."])
    row = cost_columns(RESULT, read_costs(tmp_path))
    assert list(row) == list(COST_COLUMNS)
    assert (row["own_auc"], row["own_acc"], row["own_top1"]) == ("0.900000|0.950000", "0.800000|", "|")
    assert row["test_images"] == "10|3"
    # exact, so that they add up to the run's
    np.testing.assert_array_equal(by_task({"tasks": "a|a", **row}, "task_flops"), [3e9, 1e10 / 3])
    assert (row["pretrain_flops"], row["search_flops"]) == (5e9, 1e9)
    assert (row["parameters"], row["stored_bytes"], row["cost_notes"]) == (7, 30, "One. Two.")


def test_first_version_does_not_know_what_was_paid_before(tmp_path: Path) -> None:
    write_costs(tmp_path, [{}, *TASKS[1:]], schema=1)
    row = cost_columns(RESULT, read_costs(tmp_path))
    assert (row["pretrain_flops"], row["search_flops"], row["parameters"], row["stored_bytes"]) == (None,) * 4


def test_values_of_tasks_come_back_with_nan_for_what_was_not_measured() -> None:
    row = {"tasks": "swap|warp|swap", "own_auc": "0.5||0.7", "own_acc": ""}
    np.testing.assert_array_equal(by_task(row, "own_auc"), [0.5, np.nan, 0.7])
    np.testing.assert_array_equal(by_task(row, "own_acc"), [np.nan] * 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("0.5|0.6", "3 tasks, and 2 values in column 'own_auc'"), ("0.5||inf", "'own_auc': finite"), ("a||", "'a'")],
)
def test_values_that_are_none_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        by_task({"tasks": "a|b|c", "own_auc": text}, "own_auc")
