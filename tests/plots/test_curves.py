from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from continual_df.plots.average_curve import average_curve
from continual_df.plots.forgetting_curves import forgetting_curves
from continual_df.plots.matrix_heatmap import matrix_heatmap
from continual_df.plots.run_group import RunGroup
from continual_df.plots.style import flops_axis, label_ends, limits, line_style, panel_grid, save_figure

MATRIX = [[0.5, 0.52, 0.48], [0.9, 0.6, 0.5], [0.8, 0.92, 0.6], [0.7, 0.75, 0.94]]


def result(matrix: list[list[float | None]] | np.ndarray, stream: str = "toy") -> dict[str, Any]:
    cells = np.asarray(matrix, dtype=float)
    names = [f"method_{task}" for task in range(cells.shape[1])]
    return {"stream": stream, "tasks": [{"name": name} for name in names], "matrices": {"auc": matrix, "eer": matrix}}


def group(name: str = "Finetune", *matrices: np.ndarray, stream: str = "toy") -> RunGroup:
    chosen = matrices or (np.array(MATRIX),)
    return RunGroup(name, stream, [result(matrix.tolist(), stream) for matrix in chosen])


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def heights(line: Line2D) -> list[float]:
    values: list[float] = np.asarray(line.get_ydata(), dtype=float).tolist()
    return values


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of direct labels whose boxes meet once the figure is laid out."""
    figure.canvas.draw()
    found = []
    for axes in figure.axes:
        boxes = [(text.get_text(), text.get_window_extent()) for text in axes.texts]
        found += [(a, b) for i, (a, p) in enumerate(boxes) for b, q in boxes[:i] if p.padded(-1).overlaps(q.padded(-1))]
    return found


def test_ring_marks_the_value_at_which_each_task_was_learnt() -> None:
    (axes,) = forgetting_curves([group()]).axes
    rings = [line for line in axes.lines if line.get_markerfacecolor() == "white"]
    assert [(ring.get_xdata(), *heights(ring)) for ring in rings] == [([1], 0.9), ([2], 0.92), ([3], 0.94)]


def test_lines_run_from_where_a_task_was_learnt_and_are_dotted_before() -> None:
    (axes,) = forgetting_curves([group()]).axes
    after = [line for line in axes.lines if line.get_markersize() == 3.5]
    assert [heights(line) for line in after] == [[0.9, 0.8, 0.7], [0.92, 0.75], [0.94]]
    before = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert [heights(line) for line in before] == [[0.5, 0.9], [0.52, 0.6, 0.92], [0.48, 0.5, 0.6, 0.94]]
    assert texts(axes) == ["1 method_0", "2 method_1", "3 method_2"]


def test_several_seeds_show_their_mean_and_each_seed() -> None:
    matrix = np.array(MATRIX)
    (axes,) = forgetting_curves([group("Replay", matrix, matrix + 0.02)]).axes
    assert axes.get_title(loc="left") == "Replay, mean of 2 seeds"
    drawn = [heights(line) for line in axes.lines]
    for expected in ([0.9, 0.8, 0.7], [0.92, 0.82, 0.72], [0.91, 0.81, 0.71]):
        assert any(len(line) == 3 and np.allclose(line, expected) for line in drawn)


def test_panel_titles_name_the_stream_only_where_streams_differ() -> None:
    same = forgetting_curves([group("A"), group("B")])
    assert [axes.get_title(loc="left") for axes in same.axes] == ["A", "B"]
    differ = forgetting_curves([group("A"), group("A", stream="reversed")])
    assert [axes.get_title(loc="left") for axes in differ.axes] == ["A on toy", "A on reversed"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", [forgetting_curves, average_curve, matrix_heatmap])
def test_unfinished_and_unmeasured_runs_are_drawn(draw: Any) -> None:
    partial = np.array(MATRIX)
    partial[2:] = np.nan
    for matrix in (partial, np.full((4, 3), np.nan)):
        figure = draw([group("Finetune", matrix)])
        figure.canvas.draw()
        assert len(figure.axes) == 1
    assert len(draw([group("Mixed", partial, np.array(MATRIX))]).axes) == 1


def test_average_curve_has_the_mean_of_tasks_so_far_with_its_spread() -> None:
    matrix = np.array(MATRIX)
    figure = average_curve([group("Finetune", matrix, matrix + 0.02), group("Replay", matrix + 0.05)])
    (axes,) = figure.axes
    curve = [0.9, (0.8 + 0.92) / 2, (0.7 + 0.75 + 0.94) / 3]
    lines = [heights(line) for line in axes.lines if line.get_markersize() == 5]
    np.testing.assert_allclose(lines[0], np.array(curve) + 0.01)
    np.testing.assert_allclose(lines[1], np.array(curve) + 0.05)
    # the deviation of the two averages, .02 apart, is .02 / sqrt 2; one seed has none
    assert texts(axes) == ["Finetune 0.807 \N{PLUS-MINUS SIGN} 0.014", "Replay 0.847"]


def test_average_curve_has_a_panel_per_stream() -> None:
    figure = average_curve([group("A"), group("A", stream="reversed"), group("B")])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["toy", "reversed"]
    assert [len(axes.texts) for axes in figure.axes] == [2, 1]


def test_heat_map_writes_every_number_and_frames_where_tasks_were_learnt() -> None:
    matrix = np.array(MATRIX)
    matrix[0, 2] = np.nan
    (axes,) = matrix_heatmap([group("Finetune", matrix)]).axes
    before = [".500", ".520", "\N{EN DASH}"]
    after = [".900", ".600", ".500", ".900", ".800", ".920", ".600", ".860", ".700", ".750", ".940", ".797"]
    assert texts(axes) == [*before, *after]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert [frame.get_xy() for frame in frames] == [(0, 1), (1, 2), (2, 3)]


def test_darker_is_better_for_errors_too() -> None:
    def brightness(metric: str) -> dict[str, float]:
        (axes,) = matrix_heatmap([group()], metric).axes
        cells = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_fill()]
        return {text: sum(to_rgb(cell.get_facecolor())) for text, cell in zip(texts(axes), cells, strict=True)}

    auc, eer = brightness("auc"), brightness("eer")
    assert auc[".940"] < auc[".700"] < auc[".480"]
    assert eer[".940"] > eer[".700"] > eer[".480"]


def test_direct_labels_do_not_overlap() -> None:
    names, close = 10, np.full((11, 10), 0.9)
    close[-1] = 0.9 + 0.001 * np.arange(names)
    groups = [group(name, close) for name in ("Finetune", "Replay", "Joint")]
    assert overlaps(forgetting_curves(groups)) == []
    assert overlaps(average_curve(groups)) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("num_tasks", [1, 3, 10])
def test_heat_map_has_room_for_the_names_of_joined_tasks(num_tasks: int) -> None:
    each = group("Finetune", np.full((num_tasks + 1, num_tasks), 0.5))
    for task in each.results[0]["tasks"]:
        task["name"] = "pca_reconstruction+decoder_nearest+double_jpeg_local+lowres_warp"
    figure = matrix_heatmap([each] * 2)
    figure.draw_without_rendering()
    inside = figure.bbox
    for axes in figure.axes:
        assert axes.get_xticklabels()[0].get_text() == "1 pca_reconstruction+deco\N{HORIZONTAL ELLIPSIS}"
        assert axes.get_window_extent().width / (num_tasks + 1.3) / figure.dpi > 0.5  # inches a cell
        (title,) = (text for text in axes.findobj(Text) if text.get_text() == "Finetune")
        for text in (*axes.get_xticklabels(), title):
            box = text.get_window_extent()
            assert inside.contains(box.x0, box.y0)
            assert inside.contains(box.x1, box.y1)


def test_ends_are_kept_apart_on_a_log_axis() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 1000)
    label_ends(axes, 1, [10, 10, 500], ["a", "b", "c"], ["k"] * 3, height=1)
    heights_of = {text.get_text(): text.get_position()[1] for text in axes.texts}
    # a line is 9.6 of 72 points, three decades are one inch
    assert heights_of["b"] / heights_of["a"] == pytest.approx(10 ** (3 * 9.6 / 72))
    assert heights_of["c"] == pytest.approx(500)


def test_flops_are_written_with_prefixes() -> None:
    for limits_of, expected in (
        ((1e12, 4e12), "2\N{NARROW NO-BREAK SPACE}T"),
        ((1e9, 1e15), "100\N{NARROW NO-BREAK SPACE}G"),
    ):
        figure = Figure()
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_xlim(limits_of)
        flops_axis(axes.xaxis)
        figure.draw_without_rendering()
        assert expected in [label.get_text() for label in axes.get_xticklabels()]


def test_labels_without_need_stay_at_their_lines() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    label_ends(axes, 1, [0.2, float("nan"), 0.8], ["low", "none", "high"], ["k"] * 3, height=3)
    assert {text.get_text(): pytest.approx(text.get_position()[1]) for text in axes.texts} == {"low": 0.2, "high": 0.8}


def test_lines_differ_in_more_than_colour() -> None:
    looks = [(str(line_style(i)["linestyle"]), line_style(i)["marker"]) for i in range(40)]
    assert len(set(looks)) == 40


def test_limits_hold_all_values_and_chance() -> None:
    assert limits(np.array([0.62, 0.97]), 0.5) == pytest.approx((0.45, 1.0))
    assert limits(np.array([0.0, 1.0, np.nan]), None) == (-0.03, 1.03)
    assert limits(np.array([np.nan]), None) == (0.0, 1.0)


def test_panels_are_at_most_three_wide() -> None:
    assert [panel_grid(num) for num in (1, 2, 3, 4, 5, 7)] == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (3, 3)]


@pytest.mark.parametrize("draw", [forgetting_curves, average_curve, matrix_heatmap])
def test_files_are_the_same_every_time(draw: Any, tmp_path: Any) -> None:
    written = []
    for name in ("first", "second"):
        paths = save_figure(draw([group(), group("Replay")]), tmp_path / name, "figure")
        assert [path.name for path in paths] == ["figure.png", "figure.svg"]
        written.append([path.read_bytes() for path in paths])
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["figure.png", "figure.svg"]
    assert written[0] == written[1]
    assert written[0][0].startswith(b"\x89PNG")
    assert b"<svg" in written[0][1]
