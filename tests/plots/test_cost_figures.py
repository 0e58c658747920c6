from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from continual_df.evaluation.run_costs import Paid, RunCosts, TaskCosts
from continual_df.evaluation.validation_curves import ValidationCurve
from continual_df.evaluation.weight_sources import WeightSource
from continual_df.plots.cost_group import CostGroup, by_stream, pairs
from continual_df.plots.error_against_flops import error_against_flops
from continual_df.plots.error_by_task import error_by_task
from continual_df.plots.flops_by_phase import flops_by_phase
from continual_df.plots.learning_time import learning_time, times_to_reach
from continual_df.plots.regret_curves import regret_curves
from continual_df.plots.run_group import RunGroup
from continual_df.plots.source_graph import source_graph
from continual_df.plots.style import save_figure

NAN = float("nan")
Errors = Sequence[Sequence[float]]


def group(
    name: str,
    errors: Errors,
    phases: Mapping[str, float] = {"train": 1e12},
    *,
    pretrain: float = 0.0,
    seeds: Sequence[int | None] | None = None,
    curves: Sequence[dict[int, ValidationCurve]] = (),
    sources: Sequence[dict[int, WeightSource]] = (),
    stream: str = "toy",
) -> CostGroup:
    """A group of one run for each of ``errors``, which pays ``phases`` in each task and ``pretrain`` before the first."""
    results: list[dict[str, Any]] = []
    num_tasks = len(errors[0])
    for each in errors:
        matrix = np.full((num_tasks + 1, num_tasks), 0.5)
        for task, error in enumerate(each):
            matrix[task + 1, task] = 1 - error
        # the first task comes back at the end
        names = [f"method_{task % (num_tasks - 1)}" if num_tasks > 1 else "method_0" for task in range(num_tasks)]
        tasks = [{"name": task} for task in names]
        results.append({"stream": stream, "tasks": tasks, "matrices": {"auc": matrix, "eer": 1 - matrix}})
    paid = TaskCosts({phase: Paid(flops, 1.0) for phase, flops in phases.items()}, None, None, None)
    before = TaskCosts({"pretrain": Paid(pretrain, 1.0), "predict": Paid(1e9, 1.0)}, None, None, None)
    costs = RunCosts(2, {0: before, **dict.fromkeys(range(1, num_tasks + 1), paid)}, [])
    numbers: list[int | None] = [*(range(len(errors)) if seeds is None else seeds)]
    return CostGroup(RunGroup(name, stream, results), numbers, [costs] * len(errors), list(curves), list(sources))


SCRATCH = group("Independent", [[0.3, 0.2, 0.4], [0.3, 0.4, 0.2]], {"train": 1e12, "validate": 1e11})
BETTER = group("FT-prev", [[0.3, 0.1, 0.2], [0.1, 0.2, 0.2]], {"train": 1e12, "search": 1e12})
WORSE = group("Worse", [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], {"train": 3e12}, pretrain=1e13)
THREE = [SCRATCH, BETTER, WORSE]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def line(axes: Axes, **look: Any) -> list[list[tuple[float, float]]]:
    """The points of all lines with the attributes ``look``."""
    found = [one for one in axes.lines if all(getattr(one, f"get_{key}")() == value for key, value in look.items())]
    return [list(zip(*map(np.ndarray.tolist, map(np.asarray, one.get_data())), strict=True)) for one in found]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of names beside points or lines whose boxes meet."""
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        boxes = [
            (text.get_text(), Text.get_window_extent(text)) for text in axes.texts
        ]  # without the line to the point
        found += [(a, b) for i, (a, p) in enumerate(boxes) for b, q in boxes[:i] if p.padded(-1).overlaps(q.padded(-1))]
    return found


def test_group_knows_errors_flops_and_what_was_spent_when_a_task_began() -> None:
    np.testing.assert_allclose(BETTER.errors("auc"), [[0.3, 0.1, 0.2], [0.1, 0.2, 0.2]])
    np.testing.assert_allclose(BETTER.errors("eer"), BETTER.errors("auc"))
    np.testing.assert_allclose(WORSE.flops()[0], [0, 3e12, 3e12, 3e12])
    np.testing.assert_allclose(WORSE.stream_flops()[0], [0, 3e12, 6e12])
    np.testing.assert_allclose(SCRATCH.stream_flops()[0], [0, 1e12, 2e12])


def test_runs_are_paired_by_their_seed() -> None:
    other = group("Other", [[0.1]] * 3, seeds=[1, None, 7])
    assert pairs(group("Reference", [[0.1]] * 3, seeds=[7, 1, None]), other) == [(0, 2), (1, 0)]
    assert pairs(other, other) == [(0, 0), (1, 1), (2, 2)]


def test_streams_with_other_tasks_are_told_apart() -> None:
    longer = group("FT-prev", [[0.1, 0.1, 0.1, 0.1]])
    assert list(by_stream([SCRATCH, longer, BETTER])) == ["toy #1", "toy #2"]
    assert list(by_stream([SCRATCH, BETTER])) == ["toy"]


def test_point_is_the_mean_error_at_all_flops_and_steps_are_the_front() -> None:
    (axes,) = error_against_flops(THREE).axes
    assert axes.get_xscale() == "log"
    marks = [points[0] for points in line(axes, markersize=8)]
    np.testing.assert_allclose(marks, [(3e12, 0.3), (6e12, 1.1 / 6), (9e12, 0.5)])
    seeds = sorted(point for points in line(axes, markersize=3) for point in points)
    np.testing.assert_allclose(
        seeds, [(3e12, 0.3), (3e12, 0.3), (6e12, 0.5 / 3), (6e12, 0.2), (9e12, 0.5), (9e12, 0.5)]
    )
    ((_, *steps, _),) = line(axes, color="black")
    np.testing.assert_allclose(steps, [(3e12, 0.3), (6e12, 0.3), (6e12, 1.1 / 6)])
    assert texts(axes) == ["Independent", "FT-prev", "Worse"]


def test_error_and_flops_multiply_to_the_same_along_a_grey_line() -> None:
    (axes,) = error_against_flops(THREE).axes
    products = [[x * y for x, y in points] for points in line(axes, color="#D4D4D4")]
    assert len(products) >= 3
    for product in products:
        np.testing.assert_allclose(product, product[0])
    np.testing.assert_allclose([b[0] / a[0] for a, b in pairwise(products)], 2)


def test_suffix_averages_the_last_tasks_at_the_cost_of_all() -> None:
    figure = error_against_flops(THREE, suffix=1)
    marks = [points[0] for points in line(figure.axes[0], markersize=8)]
    np.testing.assert_allclose(marks, [(3e12, 0.3), (6e12, 0.2), (9e12, 0.5)])
    assert "mean of the last 1 tasks" in figure.axes[0].get_ylabel()


def test_names_beside_points_do_not_overlap() -> None:
    close = [group(f"method_{i}", [[0.2 + 0.001 * i] * 3], {"train": 1e12 * (1 + 0.02 * i)}) for i in range(8)]
    assert overlaps(error_against_flops(close)) == []


def test_unfinished_run_has_no_point_and_a_regret_that_ends() -> None:
    costs = {number: SCRATCH.costs[0].tasks[number] for number in (0, 1, 2)}
    running = CostGroup(group("Running", [[0.3, 0.1, NAN]]).runs, [0], [RunCosts(2, costs, [])])
    (axes,) = error_against_flops([*THREE, running]).axes
    assert len(line(axes, markersize=8)) == 3
    (axes,) = regret_curves([SCRATCH, running], "Independent").axes
    np.testing.assert_allclose(line(axes, markersize=4)[1], [(0, 0), (1, 0), (2, -0.1), (3, NAN)])
    assert "Running \N{MINUS SIGN}0.100" in texts(axes)


def test_regret_is_the_mean_over_seeds_with_the_reference_at_zero() -> None:
    (axes,) = regret_curves(THREE, "Independent").axes
    means = [[y for _, y in points] for points in line(axes, markersize=4)]
    expected = [[0, 0, 0, 0], [0, -0.1, -0.25, -0.35], [0, 0.2, 0.4, 0.6]]
    np.testing.assert_allclose(np.array(means), np.array(expected), atol=1e-12)
    single = [[y for _, y in points] for points in line(axes, linewidth=0.6, color="#D55E00") if len(points) == 4]
    np.testing.assert_allclose(np.array(single), np.array([[0, 0, -0.1, -0.3], [0, -0.2, -0.4, -0.4]]), atol=1e-12)
    assert texts(axes) == ["FT-prev \N{MINUS SIGN}0.350", "Independent (reference)", "Worse +0.600"]


def test_look_of_a_method_is_the_same_on_every_stream() -> None:
    other = [group(name, [[0.1, 0.2]], stream="other") for name in ("Worse", "Independent")]
    figure = regret_curves([*THREE, *other], "Independent")
    colours = [{text.get_text().split()[0]: text.get_color() for text in axes.texts} for axes in figure.axes]
    assert colours[1] == {name: colours[0][name] for name in ("Worse", "Independent")}


def test_errors_stand_by_task_with_stems_from_the_reference() -> None:
    figure = error_by_task(THREE, "Independent")
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["1 method_0", "2 method_1", "3 method_0"]  # a repeated task stands there twice
    bars, *stems = [
        np.array(found.get_segments())[:, :, 1] for found in axes.collections if isinstance(found, LineCollection)
    ]
    np.testing.assert_allclose(bars, [[0.3, 0.3]] * 3)
    np.testing.assert_allclose(stems[0], [[0.3, 0.2], [0.3, 0.15], [0.3, 0.2]])
    marks = [[y for _, y in points] for points in line(axes, markersize=5.5)]
    np.testing.assert_allclose(marks, [[0.2, 0.15, 0.2], [0.5, 0.5, 0.5]])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "Independent (reference)",
        "FT-prev",
        "Worse",
        "single seed",
    ]


def heights(axes: Axes) -> list[float]:
    """The upper end of every layer of a pile at the last task."""
    layers = [layer for layer in axes.collections if isinstance(layer, PolyCollection)]
    return [float(np.asarray(layer.get_paths()[0].vertices)[:, 1].max()) for layer in layers]


def test_phases_pile_up_to_what_was_paid() -> None:
    figure = flops_by_phase([SCRATCH, BETTER, WORSE])
    scratch, better, worse = figure.axes
    # validation and prediction lie on top: 3 x .1 T and 1 G before the first task
    np.testing.assert_allclose(heights(scratch), [3e12, 3.301e12])
    np.testing.assert_allclose(heights(better), [3e12, 6e12, 6.001e12])
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named == ["train", "search", "validate, predict (not learning)"]
    # pretraining is more than the rest
    np.testing.assert_allclose(heights(worse), [9e12, 9.001e12])
    assert texts(worse) == ["+ 10.00 TFLOPs of pretraining"]


def test_pretraining_that_is_less_than_the_rest_is_drawn() -> None:
    (axes,) = flops_by_phase([group("Pretrained", [[0.1, 0.1]], {"train": 2e12, "novel": 1e12}, pretrain=1e12)]).axes
    np.testing.assert_allclose(heights(axes), [1e12, 5e12, 7e12, 7.001e12])
    assert texts(axes) == []


def curve(*points: tuple[float, float]) -> ValidationCurve:
    flops, error = zip(*points, strict=True)
    return ValidationCurve(np.array(flops), np.array(error))


REFERENCE = group(
    "Independent",
    [[0.1, 0.1]] * 2,
    curves=[{1: curve((5e11, 0.3), (1e12, 0.2)), 2: curve((1.5e12, 0.3), (2e12, 0.2))}] * 2,
)
LEARNER = group(
    "FT-d",
    [[0.1, 0.1]] * 2,
    {"train": 2e12},
    curves=[
        {1: curve((1e12, 0.3), (2e12, 0.25)), 2: curve((2.4e12, 0.2), (4e12, 0.1))},
        {1: curve((1e12, 0.3), (2e12, 0.25)), 2: curve((3e12, 0.3), (4e12, 0.25))},
    ],
)


def test_time_runs_from_the_beginning_of_the_task_to_the_error_that_the_reference_ends_with() -> None:
    times = times_to_reach(LEARNER, REFERENCE)
    np.testing.assert_allclose(times.flops_ST, [[2e12, 4e11], [2e12, 2e12]])
    assert times.reached_ST.tolist() == [[False, True], [False, False]]
    own = times_to_reach(REFERENCE, REFERENCE)
    np.testing.assert_allclose(own.flops_ST, [[1e12, 1e12]] * 2)
    assert own.reached_ST.all()


def test_mark_is_open_where_some_seed_has_not_reached_the_target() -> None:
    (axes,) = learning_time([REFERENCE, LEARNER], "Independent").axes
    assert axes.get_yscale() == "log"
    np.testing.assert_allclose(line(axes, markersize=5, marker="o")[0], [(1, 1e12), (2, 1e12)])
    np.testing.assert_allclose(line(axes, markersize=6.5, marker="s")[0], [(1, 2e12), (2, 1.2e12)])
    assert texts(axes) == ["Independent (reference)", "FT-d"]


def test_task_without_validations_has_no_time() -> None:
    part = group("Part", [[0.1, 0.1]], curves=[{1: curve((1e12, 0.1))}])
    np.testing.assert_allclose(times_to_reach(part, REFERENCE).flops_ST, [[1e12, NAN]])
    learning_time([REFERENCE, part], "Independent").canvas.draw()


SOURCES = [
    {1: WeightSource(0, {}), 2: WeightSource(1, {0: 0.6, 1: 0.7}), 3: WeightSource(1, {0: 0.5, 1: 0.8, 2: 0.6})},
    {1: WeightSource(0, {}), 2: WeightSource(0, {0: 0.8, 1: 0.7}), 3: WeightSource(1, {0: 0.5, 1: 0.9, 2: 0.6})},
]


def test_arcs_lead_from_the_source_to_the_task_as_thick_as_its_share_of_seeds() -> None:
    figure = source_graph([group("FT-d", [[0.1] * 3] * 2, sources=SOURCES)])
    arcs, candidates = figure.axes
    found = {
        (round(float(x[0])), round(float(x[-1]))): one.get_linewidth()
        for one in arcs.lines
        if len(x := np.asarray(one.get_xdata())) > 2
    }
    assert found == {(0, 1): 2.5, (0, 2): 1.5, (1, 2): 1.5, (1, 3): 2.5}
    assert "fresh start" in texts(arcs)
    assert texts(candidates) == ["70", "50", "70", "85", "60"]
    frames = [patch for patch in candidates.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    taken = {(round(frame.get_x() + 0.44), round(frame.get_y() + 0.44)): frame.get_linewidth() for frame in frames}
    # (task, candidate)
    assert taken == {(1, 0): 2.0, (2, 0): 1.25, (2, 1): 1.25, (3, 1): 2.0}
    assert [label.get_text() for label in candidates.get_yticklabels()] == ["fresh start", "1 method_0", "2 method_1"]


@pytest.mark.filterwarnings("error")
def test_figures_have_room_for_long_names() -> None:
    name = "pca_reconstruction+decoder_nearest+double_jpeg_local+lowres_warp"
    long = group(f"FT-d {name}", [[0.1] * 3] * 2, sources=SOURCES, curves=LEARNER.curves)
    other = group("Independent", [[0.1] * 3] * 2, curves=REFERENCE.curves)
    for result in (*long.runs.results, *other.runs.results):
        result["tasks"] = [{"name": f"{name}_{task}"} for task in range(3)]
    groups = [other, long]
    figures = [error_against_flops(groups), flops_by_phase(groups), source_graph([long])]
    figures += [draw(groups, "Independent") for draw in (regret_curves, error_by_task, learning_time)]
    for figure in figures:
        figure.draw_without_rendering()
        for axes in figure.axes:
            assert axes.get_window_extent().width > 100


def test_names_are_placed_the_same_every_time(tmp_path: Path) -> None:
    first, second = (save_figure(error_against_flops(THREE), tmp_path / name, "figure") for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_lines_are_no_marks() -> None:
    """The look-ups above tell marks by their size: matplotlib's default must not be one of them."""
    assert Line2D([], []).get_markersize() not in (3, 4, 5, 5.5, 6.5, 8)
