from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual_df.evaluation.compute import (
    average_error,
    cumulative_regret,
    event_errors,
    flops_to_reach,
    forward_transfer_from_scratch,
    normalised_regret,
    pareto_front,
    relative_flops,
)

NAN = float("nan")
ERROR = [0.2, 0.1, 0.4, 0.3]
SCRATCH = [0.2, 0.3, 0.3, 0.5]
shares = st.lists(st.tuples(*[st.floats(0, 1, allow_subnormal=False)] * 2), min_size=1, max_size=12)
grid = st.integers(0, 4).map(float)  # so few values that there are ties
points = st.lists(st.tuples(grid, grid), max_size=12)


def test_error_of_an_event_is_what_its_task_lacks_right_after_it_was_learnt() -> None:
    matrix: Any = [[0.5, 0.5, None], [0.9, 0.6, 0.5], [0.1, 0.8, 0.5], [0.1, 0.1, None]]
    np.testing.assert_allclose(event_errors(matrix), [0.1, 0.2, NAN])
    np.testing.assert_allclose(event_errors(matrix, lower_is_better=True), [0.9, 0.8, NAN])


def test_average_is_over_the_whole_stream_or_its_last_events() -> None:
    assert average_error(ERROR) == pytest.approx(0.25)
    assert average_error(ERROR, suffix=2) == pytest.approx(0.35)
    # (.4 x 1 + .3 x 9) / 10
    assert average_error(ERROR, suffix=2, weight_T=[50, 50, 1, 9]) == pytest.approx(0.31)
    assert average_error([0.2, NAN, 0.4]) == pytest.approx(0.3)
    assert np.isnan(average_error([0.2, NAN], suffix=1))


@pytest.mark.parametrize("suffix", [0, -1, 5])
def test_suffix_outside_the_stream_is_refused(suffix: int) -> None:
    with pytest.raises(ValueError, match=f"suffix is {suffix}: it must be from 1 to the number of events, 4"):
        average_error(ERROR, suffix)


def test_relative_flops_are_those_of_a_learner_over_the_reference() -> None:
    np.testing.assert_allclose(relative_flops([11, 13, 17], [0, 26, 8.5]), [NAN, 0.5, 2])


def test_regret_sums_the_differences_and_is_negative_for_the_better_learner() -> None:
    np.testing.assert_allclose(cumulative_regret(ERROR, SCRATCH), [0, -0.2, -0.1, -0.3], atol=1e-12)
    np.testing.assert_allclose(normalised_regret(ERROR, SCRATCH), [0, -0.1, -0.1 / 3, -0.075], atol=1e-12)
    relative = [0 / 0.2, -0.2 / 0.5, -0.1 / 0.8, -0.3 / 1.3]
    np.testing.assert_allclose(normalised_regret(ERROR, SCRATCH, "relative"), relative, atol=1e-12)


def test_transfer_is_what_the_learner_does_better_than_from_scratch() -> None:
    np.testing.assert_allclose(forward_transfer_from_scratch(ERROR, SCRATCH), [0, 0.2, -0.1, 0.2], atol=1e-12)
    relative = forward_transfer_from_scratch(ERROR, [0.2, 0, 0.3, 0.5], "relative")
    np.testing.assert_allclose(relative, [0, NAN, -1 / 3, 0.4], atol=1e-12)


@pytest.mark.filterwarnings("error")
def test_event_that_was_not_measured_is_never_zero() -> None:
    error = [0.2, NAN, 0.4]
    np.testing.assert_allclose(cumulative_regret(error, [0.1, 0.1, 0.1]), [0.1, NAN, NAN])
    np.testing.assert_allclose(cumulative_regret([0.1, 0.1, 0.1], error), [-0.1, NAN, NAN])
    np.testing.assert_allclose(normalised_regret(error, error, "relative"), [0, NAN, NAN])
    np.testing.assert_allclose(forward_transfer_from_scratch(error, [0.5, 0.5, 0.5]), [0.3, NAN, 0.1])


@pytest.mark.parametrize("function", [normalised_regret, forward_transfer_from_scratch])
def test_unknown_variant_and_other_lengths_are_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"variant is 'paper': it must be '\w+' or 'relative'"):
        function(ERROR, SCRATCH, "paper")
    with pytest.raises(ValueError, match=r"reference_T must have shape \(4,\), got shape \(3,\)"):
        function(ERROR, SCRATCH[:3])


@given(shares)
def test_regret_ends_where_the_transfer_of_the_events_adds_up_to(pairs: list[tuple[float, float]]) -> None:
    error, reference = map(np.array, zip(*pairs, strict=True))
    transfer = average_error(forward_transfer_from_scratch(error, reference))
    assert cumulative_regret(error, reference)[-1] == pytest.approx(-len(pairs) * transfer, abs=1e-9)
    assert normalised_regret(error, reference)[-1] == pytest.approx(-transfer, abs=1e-9)
    np.testing.assert_allclose(cumulative_regret(error, reference), -cumulative_regret(reference, error), atol=1e-9)
    assert not cumulative_regret(error, error).any()


def test_front_is_sorted_by_cost_and_keeps_ties() -> None:
    cost, error = [4, 1, 2, 2, 3, 2], [0.1, 0.5, 0.3, 0.3, 0.3, 0.4]
    assert pareto_front(cost, error).tolist() == [1, 2, 3, 0]
    assert pareto_front(np.log10(cost), error).tolist() == [1, 2, 3, 0]
    assert pareto_front([], []).tolist() == []
    assert pareto_front([7], [0.5]).tolist() == [0]


@given(points)
def test_front_is_all_that_nobody_dominates(found: list[tuple[float, float]]) -> None:
    cost, error = [point[0] for point in found], [point[1] for point in found]
    front = pareto_front(cost, error).tolist()
    for at, (c, e) in enumerate(found):
        better = [(x, y) for x, y in found if x <= c and y <= e and (x, y) != (c, e)]
        assert (at in front) == (better == [])
    assert [cost[at] for at in front] == sorted(cost[at] for at in front)
    assert bool(front) == bool(found)


@pytest.mark.parametrize(("cost", "error"), [([1, NAN], [0.1, 0.2]), ([1, 2], [0.1, NAN])])
def test_front_refuses_a_point_without_a_value(cost: list[float], error: list[float]) -> None:
    with pytest.raises(ValueError, match=r"_N is NaN at \[1\]: leave out"):
        pareto_front(cost, error)


def test_target_is_reached_at_the_first_validation_that_is_as_good() -> None:
    flops, error = [1e9, 2e9, 3e9, 4e9], [0.4, NAN, 0.2, 0.3]
    assert flops_to_reach(flops, error, 0.4) == 1e9
    assert flops_to_reach(flops, error, 0.3) == flops_to_reach(flops, error, 0.2) == 3e9
    assert np.isnan(flops_to_reach(flops, error, 0.19))
    assert np.isnan(flops_to_reach(flops, error, NAN))
    assert np.isnan(flops_to_reach([], [], 0.5))


@pytest.mark.parametrize("flops", [[2, 1], [1, NAN]])
def test_flops_that_fall_or_are_missing_are_refused(flops: list[float]) -> None:
    with pytest.raises(ValueError, match="flops_E must not fall, and have no NaN"):
        flops_to_reach(flops, [0.1, 0.2], 0.1)


@pytest.mark.parametrize("weight", [[1, -1], [1, NAN]])
def test_weights_that_are_no_sizes_are_refused(weight: list[float]) -> None:
    with pytest.raises(ValueError, match="weight_T must hold numbers >= 0"):
        average_error([0.1, 0.2], weight_T=weight)
