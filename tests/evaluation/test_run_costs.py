from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.run_costs import read_costs
from tests.cost_runs import write_costs

SIZES = {
    "parameters": {"total": 1000, "trainable": 10, "added": 0},
    "stored_bytes": {"memory": 5, "model": 4000, "teacher": 300, "checkpoint": 2},
}
TASKS = [
    {"pretrain": 5e9, "predict": 1e9},
    {"train": 2e9, "search": 1e9, "validate": 1e9, "predict": 1e9},
    {"train": 3e9, "teacher": 5e8, "validate": 1e9, "predict": 1e9},
]


def test_learning_is_everything_but_validation_prediction_and_pretraining(tmp_path: Path) -> None:
    write_costs(tmp_path, TASKS, sizes=SIZES, notes=["Pretraining is not stated."])
    costs = read_costs(tmp_path)
    assert costs.total() == (6.5e9, 6.5)
    assert costs.total(["search", "pretrain"]) == (6e9, 6)
    assert costs.total(tasks=[2]).flops == 3.5e9
    assert costs.phases == ["pretrain", "predict", "train", "search", "validate", "teacher"]
    assert (costs.last, costs.notes) == (2, ["Pretraining is not stated."])
    assert (costs.tasks[2].num_parameters, costs.tasks[2].stored_bytes) == (1000, 4305)


def test_flops_stand_by_task_and_are_nan_where_no_task_has_been(tmp_path: Path) -> None:
    write_costs(tmp_path, TASKS)
    costs = read_costs(tmp_path)
    np.testing.assert_array_equal(costs.flops_by_task(3), [0, 3e9, 3.5e9, np.nan])
    np.testing.assert_array_equal(costs.flops_by_task(2, ["predict"]), [1e9, 1e9, 1e9])


def test_first_version_has_no_sizes_and_no_notes(tmp_path: Path) -> None:
    path = write_costs(tmp_path, TASKS[1:], schema=1)
    content = json.loads(path.read_text())
    del content["notes"]
    path.write_text(json.dumps(content))
    costs = read_costs(tmp_path)
    assert costs.notes == []
    assert (costs.tasks[1].num_parameters, costs.tasks[1].stored_bytes) == (None, None)


@pytest.mark.parametrize("stored", [None, {}, {"memory": None, "model": 4000}])
def test_sum_of_what_is_stored_is_not_known_where_a_part_is_not(stored: Any, tmp_path: Path) -> None:
    write_costs(tmp_path, TASKS, sizes={"stored_bytes": stored})
    assert read_costs(tmp_path).tasks[1].stored_bytes is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"schema": 3, "tasks": [1]}, "schema 3 is not known, only 1 or 2. Read it with the version that wrote it."),
        ({"tasks": [1]}, "schema None is not known"),
        ({"schema": 2, "tasks": []}, "the key 'tasks' is missing or empty"),
        ({"schema": 2, "tasks": [7]}, "entry 0 of 'tasks'"),
        ({"schema": 2, "tasks": [{"task": 1}]}, "entry 0 of 'tasks': key 'phases' is missing"),
        ({"schema": 2, "tasks": [{"task": 1, "phases": {"train": {"flops": 1}}}]}, "key 'seconds' is missing"),
        (
            {"schema": 2, "tasks": [{"task": 1, "phases": {"train": {"flops": None, "seconds": 1}}}]},
            "'flops' is None, where a number of at least 0 is expected",
        ),
        ({"schema": 2, "tasks": [{"task": 1, "phases": {}}] * 2}, "task 1 stands there twice"),
        (
            {"schema": 2, "tasks": [{"task": 1, "phases": {}, "parameters": {"total": -1}}]},
            "'total' is -1, where a number",
        ),
    ],
)
def test_broken_file_is_refused_with_what_is_wrong(content: Any, problem: str, tmp_path: Path) -> None:
    (tmp_path / "compute.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=r"compute\.json: ") as caught:
        read_costs(tmp_path)
    assert problem in str(caught.value)


def test_run_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"compute\.json: not JSON \(.*No such file"):
        read_costs(tmp_path)
