from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.validation_curves import read_validation_curves
from tests.cost_runs import write_validation


def test_scores_and_flops_of_a_validation_belong_together(tmp_path: Path) -> None:
    write_validation(tmp_path, [[(1e9, 0.7), (2e9, 0.9)], [(5e9, 0.8)]])
    curves = read_validation_curves(tmp_path)
    assert list(curves) == [1, 2]
    np.testing.assert_allclose(curves[1].flops_E, [1e9, 2e9])
    np.testing.assert_allclose(curves[1].error_E, [0.3, 0.1])
    np.testing.assert_allclose(curves[2], [[5e9], [0.2]])


def test_several_validations_of_an_epoch_are_told_apart_by_their_step(tmp_path: Path) -> None:
    write_validation(tmp_path, [[(1e9, 0.7), (2e9, 0.9)]])
    path = tmp_path / "metrics.csv"
    path.write_text(path.read_text().replace("1,1,19,", "1,0,19,"))
    np.testing.assert_allclose(read_validation_curves(tmp_path)[1].error_E, [0.3, 0.1])


def test_logs_without_flops_have_no_curves(tmp_path: Path) -> None:
    assert read_validation_curves(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("task,epoch,step,metric,value\n1,0,9,val/auc,0.9\n")
    assert read_validation_curves(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "cannot be read"),
        ("task,epoch,step,metric\n1,0,9,val/auc\n", "cannot be read .*value"),
    ],
)
def test_broken_log_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(RunFolderError, match=rf"metrics\.csv: {problem}"):
        read_validation_curves(tmp_path)


def test_flops_that_fall_within_a_task_are_refused(tmp_path: Path) -> None:
    write_validation(tmp_path, [[(1e9, 0.7)], [(3e9, 0.7), (2e9, 0.9)]])
    with pytest.raises(RunFolderError, match=r"metrics\.csv: 'compute/flops' falls within task 2\. Restore"):
        read_validation_curves(tmp_path)
