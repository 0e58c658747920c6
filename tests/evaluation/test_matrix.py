from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from continual_df.evaluation.matrix import (
    average_accuracy,
    average_curve,
    average_incremental,
    backward_transfer,
    first_minus_last,
    forgetting,
    forward_transfer,
    last_row,
    next_task,
    plasticity,
)

NAN = float("nan")
ALL = (
    average_accuracy,
    average_incremental,
    forgetting,
    first_minus_last,
    backward_transfer,
    forward_transfer,
    plasticity,
    next_task,
)
# task 1 peaks after task 2, so that maximum-minus-last and first-minus-last differ
MATRIX = np.array([[0.5, 0.5, 0.5], [0.9, 0.6, 0.4], [0.95, 0.8, 0.55], [0.8, 0.6, 0.95]])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (average_accuracy, (0.8 + 0.6 + 0.95) / 3),
        (average_incremental, (0.9 + (0.95 + 0.8) / 2 + (0.8 + 0.6 + 0.95) / 3) / 3),
        (forgetting, ((0.95 - 0.8) + (0.8 - 0.6)) / 2),
        (first_minus_last, ((0.9 - 0.8) + (0.8 - 0.6)) / 2),
        (backward_transfer, ((0.8 - 0.9) + (0.6 - 0.8)) / 2),
        (forward_transfer, ((0.6 - 0.5) + (0.55 - 0.5)) / 2),
        (plasticity, (0.9 + 0.8 + 0.95) / 3),
        (next_task, (0.6 + 0.55) / 2),
    ],
)
def test_summary_equals_hand_number(function: Callable[[ArrayLike], float], expected: float) -> None:
    assert function(MATRIX) == pytest.approx(expected, abs=1e-12)
    assert function(MATRIX.tolist()) == pytest.approx(expected, abs=1e-12)


def test_forgetting_ignores_what_was_reached_before_the_task_was_learnt() -> None:
    matrix = MATRIX.copy()
    matrix[0, 0] = matrix[0, 1] = matrix[1, 1] = 1.0
    assert forgetting(matrix) == pytest.approx(forgetting(MATRIX))


def test_forgetting_is_zero_and_transfer_positive_where_the_last_row_is_best() -> None:
    matrix = [[0.5, 0.5], [0.7, 0.5], [0.9, 0.8]]
    assert forgetting(matrix) == 0.0
    assert backward_transfer(matrix) == pytest.approx(0.2)


@pytest.mark.parametrize("function", [forgetting, first_minus_last, backward_transfer, forward_transfer, next_task])
def test_differences_between_tasks_do_not_exist_for_one_task(function: Callable[[ArrayLike], float]) -> None:
    assert np.isnan(function([[0.5], [0.9]]))


def test_levels_exist_for_one_task() -> None:
    for function in (average_accuracy, average_incremental, plasticity):
        assert function([[0.5], [0.9]]) == 0.9


@pytest.mark.parametrize("function", ALL)
@pytest.mark.filterwarnings("error")
def test_nothing_measured_is_nan_and_silent(function: Callable[[ArrayLike], float]) -> None:
    assert np.isnan(function(np.full((4, 3), NAN)))
    assert np.isnan(function(np.array([[0.5, 0.5], [None, None], [None, None]])))


@pytest.mark.parametrize("function", ALL)
def test_column_that_was_never_measured_leaves_the_others_unchanged(function: Callable[[ArrayLike], float]) -> None:
    wide = np.insert(MATRIX, 3, NAN, axis=1)
    wide = np.vstack([wide, np.full((1, 4), NAN)])
    assert function(wide) == pytest.approx(function(MATRIX), abs=1e-12)


def test_unmeasured_cell_is_left_out_of_every_mean() -> None:
    matrix = MATRIX.copy()
    matrix[3, 0] = NAN  # last of task 1
    assert average_accuracy(matrix) == pytest.approx((0.6 + 0.95) / 2)
    assert forgetting(matrix) == pytest.approx(0.8 - 0.6)
    assert backward_transfer(matrix) == pytest.approx(0.6 - 0.8)
    matrix = MATRIX.copy()
    matrix[2, 0] = NAN  # the maximum of task 1
    assert forgetting(matrix) == pytest.approx(((0.9 - 0.8) + (0.8 - 0.6)) / 2)


def test_missing_row_zero_makes_forward_transfer_nan_only() -> None:
    matrix = MATRIX.copy()
    matrix[0] = NAN
    assert np.isnan(forward_transfer(matrix))
    for function in (average_accuracy, average_incremental, forgetting, backward_transfer, plasticity):
        assert function(matrix) == function(MATRIX)


def test_unfinished_run_counts_the_tasks_learnt_so_far() -> None:
    matrix = MATRIX.copy()
    matrix[3] = NAN
    assert last_row(matrix) == 2
    assert average_accuracy(matrix) == pytest.approx((0.95 + 0.8) / 2)
    assert forgetting(matrix) == 0.0  # task 1 is at its best, task 2 was just learnt
    assert backward_transfer(matrix) == pytest.approx(0.95 - 0.9)
    assert plasticity(matrix) == pytest.approx((0.9 + 0.8) / 2)
    assert next_task(matrix) == next_task(MATRIX)
    assert forward_transfer(matrix) == pytest.approx(((0.6 - 0.5) + (0.55 - 0.5)) / 2)


def test_average_curve_is_nan_before_training_and_where_not_measured() -> None:
    matrix = MATRIX.copy()
    matrix[2] = NAN
    np.testing.assert_allclose(average_curve(matrix), [NAN, 0.9, NAN, (0.8 + 0.6 + 0.95) / 3])


@pytest.mark.parametrize("shape", [(3, 3), (1, 0), (3,), (4, 3, 1), (2, 3)])
def test_wrong_shape_is_refused_with_name_value_and_what_is_allowed(shape: tuple[int, ...]) -> None:
    matrix: NDArray[np.float64] = np.zeros(shape)
    for function in ALL:
        with pytest.raises(ValueError, match=r"matrix must have shape \(T \+ 1, T\) with T >= 1, got shape"):
            function(matrix)


def test_ragged_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix must be numbers"):
        average_accuracy([[0.1], [0.2, 0.3]])
