from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from continual_df.evaluation.open_world_results import attributed_heads
from continual_df.evaluation.pair_curves import KEYS
from continual_df.evaluation.results import evaluate_run
from continual_df.evaluation.run_files import read_run
from continual_df.plots.attribution_confusion import attribution_confusion
from continual_df.plots.class_lives import FILLS, class_lives
from continual_df.plots.cluster_map import cluster_map
from continual_df.plots.head_use import head_use
from continual_df.plots.pair_curves import PairGroup, pair_curves
from continual_df.plots.run_group import RunGroup
from continual_df.plots.style import COLOURS, save_figure
from tests.open_world_runs import write_open_world_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluate_run(write_open_world_run(tmp_path_factory.mktemp("open_world") / "run"), num_draws=1)


def last_row(results: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = results["open_world"]["rows"][-1]
    return row


def written(axes: Axes) -> dict[tuple[float, float], str]:
    return {tuple(np.round(text.get_position(), 2).tolist()): text.get_text() for text in axes.texts}


def labels(axes: Axes) -> tuple[list[str], list[str]]:
    return [text.get_text() for text in axes.get_xticklabels()], [text.get_text() for text in axes.get_yticklabels()]


def crowded(num_others: int) -> dict[str, Any]:
    """A row of one known class, half of whose images lie in many clusters."""
    heads = {"0": num_others, **{str(head): 1 for head in range(1, num_others + 1)}}
    entry = {"name": "real", "known": True, "num_images": 2 * num_others, "match": 0, "heads": heads}
    order = list(range(num_others + 1))
    counts = {"num_heads": num_others + 1, "num_used": num_others + 1, "num_used_1pct": 3, "num_classes": 1}
    known = {"known_heads": ["real"], "row": 1, "num_images": 2 * num_others}
    return {"classes": [entry], "head_order": order, **counts, **known}


def test_confusion_has_shares_in_percent_and_frames_the_matched_pairs(results: dict[str, Any]) -> None:
    (axes,) = attribution_confusion(last_row(results), "CPL").axes
    assert labels(axes) == (
        ["real", "warp", "paint", "4", "swap", "5"],
        ["real (12)", "swap (12)", "warp (12)", "paint (12)", "wild (12)", "alien (12)"],
    )
    # novel classes stand 0.4 lower; their heads 0.4, heads without a class 0.8 further right
    assert written(axes) == {
        (0.5, 0.5): "100",
        (2.5, 1.5): "67",
        (4.9, 1.5): "33",
        (1.5, 2.5): "100",
        (0.5, 3.5): "8",
        (2.5, 3.5): "92",
        (3.9, 4.9): "50",
        (6.3, 4.9): "50",
        (4.9, 5.9): "100",
    }
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    assert [(frame.get_x(), frame.get_y()) for frame in frames] == [(0, 0), (1, 2), (2, 3), (3.4, 4.4), (4.4, 5.4)]


def test_names_of_known_and_novel_differ_in_colour(results: dict[str, Any]) -> None:
    (axes,) = attribution_confusion(last_row(results), "CPL").axes
    colours = [
        [to_hex(label.get_color()) for label in ticks] for ticks in (axes.get_yticklabels(), axes.get_xticklabels())
    ]
    known, novel = (to_hex(colour) for colour in COLOURS[:2])
    assert colours == [[known] * 4 + [novel] * 2, [known, known, known, novel, known, novel]]


@pytest.mark.parametrize(
    ("num", "name", "percent"), [(8, "8", "6"), (9, "9", "6"), (10, "2 others", "10"), (200, "192 others", "48")]
)
def test_heads_beyond_the_most_used_share_a_column(num: int, name: str, percent: str) -> None:
    (axes,) = attribution_confusion(crowded(num), "CPL").axes
    assert labels(axes)[0][-1] == name
    assert axes.texts[-1].get_text() == percent
    assert len(labels(axes)[0]) <= 10


def test_heads_are_counted_by_images_of_known_and_novel_classes(results: dict[str, Any]) -> None:
    (axes,) = head_use(last_row(results), "CPL").axes
    known, novel = (bars for bars in axes.containers if isinstance(bars, BarContainer))
    assert [bar.get_height() for bar in known] == [13, 4, 12, 19, 0, 0]
    assert [bar.get_height() for bar in novel] == [0, 12, 0, 0, 6, 6]
    assert [bar.get_y() for bar in novel] == [13, 4, 12, 19, 0, 0]
    assert labels(axes)[0] == ["real", "swap", "warp", "paint", "4", "5"]
    assert axes.lines[0].get_ydata() == [0.72, 0.72]


def test_many_heads_stay_without_names_and_unused_clusters_without_bars() -> None:
    row = crowded(100)
    row["num_heads"] += 50
    (axes,) = head_use(row, "CPL").axes
    assert labels(axes)[0] == []
    assert len(axes.containers[0]) == 101


def test_lives_are_coloured_by_state_with_their_value_and_lag(results: dict[str, Any]) -> None:
    (axes,) = class_lives(results["open_world"], results["tasks"], "CPL").axes
    names = labels(axes)[1]
    assert names == ["real", "swap", "paint", "wild", "warp", "alien"]
    fills = {(patch.get_x(), names[int(patch.get_y())]): patch.get_facecolor()[:3] for patch in axes.patches}  # type: ignore[attr-defined]
    expected = {
        "real": ["named", "remembered", "remembered"],
        "swap": ["named", "remembered", "forgotten"],
        "paint": ["unlabelled", "discovered", "named"],
        "wild": ["discovered", "discovered", "unlabelled"],
        "alien": ["held out"] * 3,
    }
    for name, states in expected.items():
        assert [fills[x, name] for x in range(3)] == [to_rgb(FILLS[state]) for state in states]
    assert (0, "warp") not in fills
    text = written(axes)
    assert [text[x + 0.5, 1.5] for x in range(3)] == ["1.00", ".75", ".33"]
    assert {y: text[3.3, y] for y in (2.5, 3.5)} == {2.5: "1", 3.5: "0"}
    assert (3.3, 0.5) not in text  # never unlabelled: no lag


def test_class_that_was_never_discovered_has_a_dash(results: dict[str, Any]) -> None:
    lives = {"wild": {**results["open_world"]["lives"]["wild"], "lag": None}}
    (axes,) = class_lives({"lives": lives}, results["tasks"], "CPL").axes
    assert "\N{EN DASH}" in written(axes).values()


def test_nothing_written_overlaps(results: dict[str, Any]) -> None:
    section = results["open_world"]
    tasks = [{**task, "name": "a_rather_long_name+and_another"} for task in results["tasks"]]
    figures = [
        attribution_confusion(last_row(results), "M"),
        head_use(last_row(results), "M"),
        class_lives(section, tasks, "M"),
    ]
    for figure in figures:
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert not any(a.padded(-1).overlaps(b.padded(-1)) for i, a in enumerate(boxes) for b in boxes[:i])


def test_files_are_the_same_every_time(results: dict[str, Any], tmp_path: Path) -> None:
    def draw() -> list[Figure]:
        row, section = last_row(results), results["open_world"]
        return [attribution_confusion(row, "M"), head_use(row, "M"), class_lives(section, results["tasks"], "M")]

    contents = [
        [path.read_bytes() for i, figure in enumerate(draw()) for path in save_figure(figure, tmp_path / name, str(i))]
        for name in ("first", "second")
    ]
    assert contents[0] == contents[1]


def pair_group(name: str, *shares: list[float]) -> PairGroup:
    """A method of one run for each of ``shares``: its rate in the epochs of two tasks, and half as much as precision."""
    curves = []
    for share in shares:
        index = pd.MultiIndex.from_product([[1, 2], range(len(share) // 2)], names=["task", "epoch"])
        curves.append(pd.DataFrame({key: share for key in KEYS}, index=index) / 2)
        curves[-1]["rate"] *= 2
    results = [{"tasks": [{"name": "a"}, {"name": "b"}]}] * len(shares)
    return PairGroup(RunGroup(name, "toy", results), curves)


def test_pair_curves_show_the_mean_over_seeds_epoch_after_epoch() -> None:
    figure = pair_curves(
        [pair_group("value", [0.2, 0.4, 0.6, 0.8], [0.4, 0.6, 0.8, 1.0]), pair_group("off", [1.0] * 4)]
    )
    rate, known, novel = figure.axes
    lines = [np.asarray(line.get_ydata()).tolist() for line in rate.lines if len(np.asarray(line.get_xdata())) == 4]
    assert lines[0] == pytest.approx([0.3, 0.5, 0.7, 0.9])
    assert lines[1] == [1.0] * 4
    assert [axes.get_xlabel() for axes in (rate, known, novel)] == ["epoch"] * 3
    borders = [line for line in known.lines if np.asarray(line.get_xdata()).tolist() == [2.5, 2.5]]
    assert len(borders) == 1
    assert {text.get_text() for text in novel.texts} == {"value", "off"}


def test_a_share_that_no_epoch_has_draws_nothing_and_has_no_name() -> None:
    group = pair_group("value", [0.2, 0.4])
    group.curves[0]["precision_novel"] = np.nan
    assert not pair_curves([group]).axes[2].texts


def xy(line: Line2D) -> Any:
    return np.asarray(line.get_xydata())


def shown(axes: Axes) -> dict[tuple[str, str, bool], int]:
    """How many images have each marker, colour and filling."""
    return {
        (str(line.get_marker()), to_hex(line.get_color()), line.get_markerfacecolor() != "none"): len(xy(line))
        for line in axes.lines
        if len(xy(line))
    }


def test_cluster_map_gives_images_the_look_of_their_class_and_of_their_head_s_class(
    results: dict[str, Any], tmp_path: Path
) -> None:
    images = attributed_heads(read_run(write_open_world_run(tmp_path / "run")), 3)
    assert images["class"].value_counts().to_dict() == dict.fromkeys(
        ["real", "swap", "warp", "paint", "wild", "alien"], 12
    )
    feature_ND = np.random.default_rng(0).normal(size=(len(images), 5))
    figure = cluster_map(feature_ND, images, last_row(results), "CPL")
    by_class, by_head = map(shown, figure.axes)
    assert sorted(by_class.values()) == [12] * 6
    assert [filled for _, _, filled in by_class].count(False) == 2  # wild and alien have no name
    # heads are matched as the confusion has them: 0 real, 1 alien, 2 warp, 3 paint, 4 wild; 4 of swap and alien in 1, 8 of swap in 3,
    # 6 of wild in 5, which no class has
    wild, alien = (look for look in by_class if not look[2])
    assert by_head[wild] == 6
    assert by_head[alien] == 16
    assert sorted(count for look, count in by_head.items() if look[0] == "x") == [6]
    assert sum(by_head.values()) == len(images)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["real", "swap", "warp", "paint", "wild", "alien", "in a head of no class"]


def test_cluster_map_lies_on_the_main_plane_of_the_features(results: dict[str, Any]) -> None:
    images = pd.DataFrame({"class": ["real", "swap", "warp"], "head": [0, 1, 2]})
    feature_ND = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])
    left = cluster_map(feature_ND, images, last_row(results), "CPL").axes[0]
    points = np.array([xy(line)[0] for line in left.lines if len(xy(line))])
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_allclose(np.sort(distance[np.triu_indices(3, 1)]), [3, 4, 5])
