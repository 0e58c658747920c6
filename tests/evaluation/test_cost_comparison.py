from __future__ import annotations

import pytest

from continual_df.evaluation.comparison import MethodRows, StreamComparison, compare_rows
from continual_df.evaluation.cost_comparison import AGAINST, CostComparison
from continual_df.evaluation.run_summary import COLUMNS, Row


def row(method: str, seed: int | None, own: str, flops: float | None = 4e9, **values: str | float | None) -> Row:
    """A row of a stream of three tasks, of which the last is the first again, with test sets of 1, 1 and 8 images."""
    given: Row = {
        "stream": "toy",
        "method": method,
        "seed": seed,
        "tasks": "swap|warp|swap",
        "final_auc": "0.8|0.9|0.8",
        "own_auc": own,
        "test_images": "1|1|8",
        "train_flops": flops,
        "stream_hash": "aaaaaaaaaa",
        "recipe": method,
    }
    return {**{column: "" if kind is str else None for column, kind in COLUMNS.items()}, **given, **values}


def compare(*rows: Row) -> StreamComparison:
    (comparison,) = compare_rows(rows, [f"run{number}" for number in range(len(rows))])
    return comparison


SCRATCH = [row("Independent", 0, "0.6|0.7|0.8"), row("Independent", 1, "0.5|0.5|0.5")]
PREVIOUS = [row("FT-prev", 1, "0.9|0.5|0.6", 2e9), row("FT-prev", 0, "0.6|0.8|0.9", 8e9)]
OTHER = row("Joint", 7, "0.9|0.9|", 6e9)


def mean(cost: CostComparison, name: str, method: int = 1) -> float | None:
    return cost.spread(cost.stream.methods[method], name).mean


def test_errors_are_averages_over_the_stream_its_suffix_and_the_images_of_the_suffix() -> None:
    stream = compare(*SCRATCH, *PREVIOUS)
    whole, last = CostComparison(stream), CostComparison(stream, suffix=2)
    assert mean(whole, "average_error") == mean(last, "average_error") == pytest.approx((1.0 / 3 + 0.7 / 3) / 2)
    assert mean(last, "suffix_error") == pytest.approx((0.45 + 0.15) / 2)
    # (1 x .5 + 8 x .4) / 9 and (1 x .2 + 8 x .1) / 9; with the first task, 10 images
    assert mean(last, "size_weighted_error") == pytest.approx((3.7 / 9 + 1.0 / 9) / 2)
    assert mean(whole, "size_weighted_error") == pytest.approx((3.8 / 10 + 1.4 / 10) / 2)
    assert whole.quantities == ["average_error", "size_weighted_error"]
    assert last.quantities == ["average_error", "suffix_error", "size_weighted_error"]


def test_regret_and_transfer_are_paired_by_seed() -> None:
    cost = CostComparison(compare(*SCRATCH, *PREVIOUS), reference="Independent")
    # seed 1: errors .1 .5 .4 against .5 .5 .5; seed 0: .4 .2 .1 against .4 .3 .2
    assert mean(cost, "cumulative_regret") == pytest.approx((-0.5 - 0.2) / 2)
    assert mean(cost, "normalised_regret_per_task") == pytest.approx((-0.5 / 3 - 0.2 / 3) / 2)
    assert mean(cost, "normalised_regret_relative") == pytest.approx((-0.5 / 1.5 - 0.2 / 0.9) / 2)
    assert mean(cost, "forward_transfer_points") == pytest.approx((0.5 / 3 + 0.2 / 3) / 2)
    assert mean(cost, "forward_transfer_relative") == pytest.approx((0.5 / 1.5 + 0.2 / 0.9) / 2)
    assert mean(cost, "relative_flops") == pytest.approx((2 / 4 + 8 / 4) / 2)
    spread = cost.spread(cost.stream.methods[1], "cumulative_regret")
    assert spread.deviation == pytest.approx(0.3 / 2**0.5)
    assert spread.num == 2


def test_suffix_shortens_the_transfer_and_never_the_regret_or_the_compute() -> None:
    stream = compare(*SCRATCH, *PREVIOUS)
    whole, last = (CostComparison(stream, suffix=suffix, reference="Independent") for suffix in (None, 1))
    for name in ("cumulative_regret", "normalised_regret_relative", "relative_flops"):
        assert mean(last, name) == mean(whole, name)
    assert mean(last, "forward_transfer_points") == pytest.approx((0.1 + 0.1) / 2)


def test_task_in_which_the_reference_makes_no_error_counts_in_the_share() -> None:
    cost = CostComparison(
        compare(row("Independent", 0, "1|0.6|0.8"), row("LwF", 0, "0.9|0.9|0.9")), reference="Independent"
    )
    assert mean(cost, "forward_transfer_relative") == pytest.approx((0.6 - 0.3) / 0.6)
    perfect = CostComparison(
        compare(row("Independent", 0, "1|1|1"), row("LwF", 0, "0.9|0.9|0.9")), reference="Independent"
    )
    assert mean(perfect, "forward_transfer_relative") is None
    assert mean(perfect, "forward_transfer_points") == pytest.approx(-0.1)


def test_reference_against_itself_is_nothing_but_as_dear() -> None:
    cost = CostComparison(compare(*SCRATCH, *PREVIOUS), reference="Independent")
    assert [mean(cost, name, 0) for name in AGAINST] == [1, 0, 0, 0, 0, 0]


def test_seeds_that_the_reference_lacks_are_not_paired() -> None:
    more = [*PREVIOUS, row("FT-prev", 5, "0.1|0.1|0.1"), row("LwF", None, "0.1|0.1|0.1")]
    cost = CostComparison(compare(*SCRATCH, *more), reference="Independent")
    previous, without_seed = cost.stream.methods[1:]
    assert [(one["seed"], other["seed"]) for one, other in cost.pairs(previous)] == [(1, 1), (0, 0)]
    assert cost.spread(previous, "cumulative_regret").num == 2
    assert cost.spread(previous, "average_error").num == 3
    assert cost.pairs(without_seed) == []


def test_event_that_was_not_measured_leaves_the_average_and_takes_the_regret_with_it() -> None:
    stream = compare(*SCRATCH, row("Joint", 0, "0.9|0.9|", 6e9))
    cost = CostComparison(stream, reference="Independent")
    assert mean(cost, "average_error") == pytest.approx(0.1)
    assert mean(cost, "cumulative_regret") is None
    assert mean(cost, "forward_transfer_points") == pytest.approx((0.3 + 0.2) / 2)
    assert mean(cost, "forward_transfer_relative") == pytest.approx((0.3 + 0.2) / (0.4 + 0.3))


def test_front_is_of_means_over_seeds_and_leaves_out_what_was_not_measured() -> None:
    rows = [
        *SCRATCH,
        *PREVIOUS,
        row("Old", 0, "", 1e9),
        row("Free", 0, "0.9|0.9|0.9", None),
        row("Best", 0, "1|1|1", 9e9),
    ]
    cost = CostComparison(compare(*rows))
    # mean FLOPs 4, 5 and 9 G, mean errors .40, .28 and 0
    assert cost.on_front() == [True, True, None, None, True]
    dominating = row("Cheap", 0, "0.9|0.9|0.9", 3e9)
    assert CostComparison(compare(*rows, dominating)).on_front() == [False, False, None, None, True, True]
    assert CostComparison(compare(row("Old", 0, ""))).on_front() == [None]


def test_front_is_that_of_the_error_over_the_suffix() -> None:
    rows = [row("Early", 0, "1|1|0.5", 1e9), row("Late", 0, "0.5|0.5|1", 2e9)]
    assert CostComparison(compare(*rows)).on_front() == [True, False]
    assert CostComparison(compare(*rows), suffix=1).on_front() == [True, True]


def test_best_is_lowest_but_for_transfer() -> None:
    cost = CostComparison(compare(*SCRATCH, *PREVIOUS), reference="Independent")
    best = {name: cost.best(name) for name in cost.quantities}
    assert best.pop("relative_flops") == [True, False]
    assert set(map(tuple, best.values())) == {(False, True)}


def test_nothing_is_measured_in_rows_of_an_earlier_version() -> None:
    stream = compare(row("Old", 0, ""), row("Old", 1, ""))
    assert CostComparison(stream).quantities == []
    assert CostComparison(compare(*SCRATCH), metric="top1").quantities == []


@pytest.mark.parametrize("suffix", [0, 4])
def test_suffix_longer_than_the_stream_is_refused(suffix: int) -> None:
    with pytest.raises(ValueError, match=f"suffix is {suffix}: stream 'toy' has 3 tasks"):
        CostComparison(compare(*SCRATCH), suffix=suffix)


def test_method_is_told_from_its_namesake() -> None:
    cost = CostComparison(
        compare(*SCRATCH, row("Independent", 0, "0.9|0.9|0.9", recipe="more")), reference="Independent (run2)"
    )
    assert isinstance(cost.stream.methods[0], MethodRows)
    assert [method.name for method in cost.stream.methods] == ["Independent (run0)", "Independent (run2)"]
    assert mean(cost, "cumulative_regret", 0) == pytest.approx(0.9 - 0.3)
