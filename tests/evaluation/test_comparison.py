from __future__ import annotations

import pytest

from continual_df.evaluation.attribution_summary import ATTRIBUTION
from continual_df.evaluation.comparison import (
    FINAL,
    LOWER_IS_BETTER,
    Quantity,
    StreamComparison,
    compare_rows,
    describe_difference,
)
from continual_df.evaluation.run_summary import COLUMNS, Row
from continual_df.evaluation.seed_groups import group_by_seed, tell_apart


def row(method: str = "ER", seed: int | None = 0, /, **values: str | float | None) -> Row:
    """A row of two tasks."""
    given: Row = {
        "stream": "toy",
        "method": method,
        "seed": seed,
        "tasks": "swap|warp",
        "final_auc": "0.800000|0.900000",
        "memory_images": 10,
        "memory_bytes": 1000,
        "train_flops": 1e12,
        "train_seconds": 60.0,
        "stream_hash": "aaaaaaaaaa",
        "recipe": method,
    }
    rest = {column: "" if kind is str else 0.5 for column, kind in COLUMNS.items()}
    return {**rest, **given, **values}


def compare(*rows: Row) -> list[StreamComparison]:
    return compare_rows(rows, [f"run{number}" for number in range(len(rows))])


def test_seeds_have_a_mean_and_a_deviation_with_n_minus_one() -> None:
    rows = [row("ER", seed, average_auc=value) for seed, value in enumerate((0.7, 0.8, 0.9))]
    method = compare(*rows)[0].methods[0]
    # mean .8; squared deviations .01 + 0 + .01 over 2 gives .01
    assert method.spread(Quantity("average_auc")) == pytest.approx((0.8, 0.1, 3))
    one = compare(rows[0])[0].methods[0]
    assert one.spread(Quantity("average_auc")) == (0.7, None, 1)


def test_what_some_runs_have_not_measured_is_left_out_and_counted() -> None:
    rows = [row("ER", 0, memory_bytes=None), row("ER", 1, memory_bytes=500), row("ER", 2, final_auc="|0.7")]
    method = compare(*rows)[0].methods[0]
    assert method.spread(Quantity("memory_bytes")) == pytest.approx((750, 353.5534, 2))
    assert method.spread(Quantity(FINAL, 0)) == pytest.approx((0.8, 0.0, 2))
    assert compare(row(memory_bytes=None))[0].methods[0].spread(Quantity("memory_bytes")) == (None, None, 0)


def test_seconds_of_several_devices_are_not_averaged_and_none_of_them_is_best() -> None:
    seconds = Quantity("train_seconds")
    gpu: Row = {"devices": "NVIDIA H100"}
    cpu: Row = {"devices": "cpu", "train_seconds": 600.0}
    (mixed,) = compare(row("ER", 0, **gpu), row("ER", 1, **cpu), row("LwF", 0, **gpu))
    assert [method.spread(seconds) for method in mixed.methods] == [(None, None, 0), (60.0, None, 1)]
    assert mixed.best(seconds) == [False, False]
    assert mixed.methods[0].spread(Quantity("train_flops")).num == 2
    (resumed,) = compare(row("ER", 0, devices="NVIDIA H100|cpu"), row("LwF", 0, **gpu))
    assert [method.spread(seconds).num for method in resumed.methods] == [0, 1]
    (alike,) = compare(row("ER", 0, **gpu), row("LwF", 0, **{**gpu, "train_seconds": 50.0}))
    assert alike.best(seconds) == [False, True]


def test_best_is_highest_for_scores_and_lowest_for_forgetting_and_costs() -> None:
    low: Row = {**dict.fromkeys(LOWER_IS_BETTER, 1.0), "average_auc": 0.5, "bwt": -0.4, "final_auc": "0.5|0.6"}
    high: Row = {**dict.fromkeys(LOWER_IS_BETTER, 2.0), "average_auc": 0.6, "bwt": -0.3, "final_auc": "0.4|0.7"}
    comparison = compare(row("low", **low), row("high", **high))[0]
    best = {quantity: comparison.best(quantity) for quantity in comparison.quantities}
    assert best[Quantity("average_auc")] == best[Quantity("bwt")] == best[Quantity(FINAL, 1)] == [False, True]
    assert best[Quantity(FINAL, 0)] == [True, False]
    for name in LOWER_IS_BETTER:
        assert best[Quantity(name)] == [True, False]


def test_methods_stand_in_order_of_a_column_best_first_and_those_without_it_last() -> None:
    rows = [
        row("unmeasured", average_auc=None, forgetting=None),
        row("low", average_auc=0.6, forgetting=0.3),
        row("high", 0, average_auc=0.7, forgetting=0.1),
        row("high", 1, average_auc=0.9, forgetting=0.2),
        row("middle", average_auc=0.7, forgetting=0.05),
    ]
    (comparison,) = compare(*rows)

    def order(name: str) -> list[str]:
        return [method.name for method in comparison.ranked(name).methods]

    assert order("average_auc") == ["high", "middle", "low", "unmeasured"]
    assert order("forgetting") == ["middle", "high", "low", "unmeasured"]
    assert [method.name for method in comparison.methods] == ["unmeasured", "low", "high", "middle"]


def test_best_are_all_that_are_equal_as_printed() -> None:
    comparison = compare(
        row("a", average_auc=0.8001, train_flops=1.2341e12, forgetting=0.2),
        row("b", average_auc=0.7999, train_flops=1.2349e12, forgetting=None),
        row("c", average_auc=0.7989, train_flops=1.2351e12, forgetting=0.1),
    )[0]
    assert comparison.best(Quantity("average_auc")) == [True, True, False]
    assert comparison.best(Quantity("train_flops")) == [True, True, False]
    assert comparison.best(Quantity("forgetting")) == [False, False, True]
    assert compare(row("alone"))[0].best(Quantity("average_auc")) == [False]
    nothing = compare(row("a", bwt=None), row("b", bwt=None))[0]
    assert nothing.best(Quantity("bwt")) == [False, False]


def test_attribution_is_compared_over_all_images_and_inside_each_source() -> None:
    rows = [
        row("CPL", 0, known_acc=0.9, attribution_by_source="ffhq:0.5:0.4:0.3:0.45|celeba:0.9:::0.9"),
        row("CPL", 1, known_acc=0.8, attribution_by_source="ffhq:0.7:0.6:0.2:0.65"),
        row("Joint", 0, **dict.fromkeys(ATTRIBUTION), attribution_by_source=""),
    ]
    comparison = compare(*rows)[0]
    cpl, joint = comparison.methods
    assert [quantity.name for quantity in comparison.attribution()] == list(ATTRIBUTION)
    assert cpl.spread(Quantity("known_acc")) == pytest.approx((0.85, 0.0707107, 2))
    assert cpl.spread(Quantity("novel_acc_v2", source="ffhq")) == pytest.approx((0.5, 0.1414214, 2))
    assert cpl.spread(Quantity("novel_acc_strict", source="ffhq")) == pytest.approx((0.25, 0.0707107, 2))
    assert cpl.spread(Quantity("novel_acc_v2", source="celeba")) == (None, None, 0)
    assert cpl.spread(Quantity("known_acc", source="celeba")) == (0.9, None, 1)
    assert joint.spread(Quantity("known_acc")) == joint.spread(Quantity("known_acc", source="ffhq")) == (None, None, 0)
    assert (comparison.sources, comparison.mixed_sources) == (["ffhq", "celeba"], ["ffhq"])
    assert set(comparison.quantities) >= {*comparison.attribution(), *comparison.attribution("celeba")}
    assert comparison.best(Quantity("all_acc", source="ffhq")) == [True, False]


def test_streams_without_unnamed_classes_have_no_attribution_to_compare() -> None:
    comparison = compare(row(**dict.fromkeys(ATTRIBUTION)))[0]
    assert comparison.attribution() == comparison.attribution("ffhq") == []
    assert comparison.sources == []
    assert not {quantity.name for quantity in comparison.quantities} & set(ATTRIBUTION)


def test_only_runs_of_one_method_and_recipe_are_averaged() -> None:
    comparison = compare(
        row("ER", 0), row("LwF", 0), row("ER", 1), row("ER", 2, recipe="more memory"), row("LwF", 0), row("Joint", None)
    )[0]
    assert [(method.name, method.positions) for method in comparison.methods] == [
        ("ER (run0)", [0, 2]),
        ("LwF (run1)", [1]),
        ("ER (run3)", [3]),
        ("LwF (run4)", [4]),
        ("Joint", [5]),
    ]


def test_streams_that_differ_in_images_order_or_tasks_stand_apart() -> None:
    first, images, order, tasks = compare(
        row(),
        row(stream_hash="bbbbbbbbbb"),
        row(stream="back", tasks="warp|swap", stream_hash="c"),
        row(stream="long", tasks="swap|warp|paint", final_auc="0.1|0.2|0.3", stream_hash="d"),
    )
    assert [len(one.methods) for one in (first, images, order, tasks)] == [1, 1, 1, 1]
    assert (first.title, images.title) == ("toy (aaaaaaaa)", "toy (bbbbbbbb)")
    assert describe_difference(images, first) == (
        "Stream 'toy (bbbbbbbb)' is not compared with 'toy (aaaaaaaa)': it has the same tasks of other images (membership "
        "bbbbbbbb, not aaaaaaaa)."
    )
    assert describe_difference(order, first).endswith("it has the same tasks in another order (warp, swap).")
    assert describe_difference(tasks, first).endswith("it has other tasks (with paint).")
    assert describe_difference(first, tasks).endswith("it has other tasks (without paint).")


def test_tasks_with_other_names_are_other_streams_even_on_the_same_images() -> None:
    assert len(compare(row(), row(tasks="swap|bend"))) == 2


def test_equal_seeds_are_never_in_one_group() -> None:
    assert group_by_seed(["a", "b", "a", "a", "a"], [0, 0, 1, 0, None]) == [[0, 2, 4], [1], [3]]
    assert group_by_seed(["a", "a"], [None, None]) == [[0], [1]]
    assert group_by_seed([], []) == []


def test_equal_names_get_their_details_and_then_numbers() -> None:
    assert tell_apart(["a", "b"], ["x", "y"]) == ["a", "b"]
    assert tell_apart(["a", "b", "a"], ["x", "y", "z"]) == ["a (x)", "b", "a (z)"]
    assert tell_apart(["a", "a"], ["x", "x"]) == ["a (x) #1", "a (x) #2"]
