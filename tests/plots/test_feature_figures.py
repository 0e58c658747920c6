from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from continual_df.evaluation.embedding_files import COLUMNS, Embedding
from continual_df.evaluation.latent_geometry import magnitude_and_angle
from continual_df.plots.latent_space import ARROW, PALE, latent_space
from continual_df.plots.memory_map import memory_map
from continual_df.plots.style import COLOURS, GREY

Row = tuple[int, int, int, str, str, bool, bool]


def tasks(num: int, real_domain: int | None = None) -> list[dict[str, Any]]:
    return [
        {"name": f"a_method_{task + 1}", "real_domain": task if real_domain is None else real_domain}
        for task in range(num)
    ]


def embedding(
    number: int, rows: Sequence[Row], feature_ND: object, direction_HD: object = ((1.0, 0.0, 0.0),)
) -> Embedding:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    features, directions = (np.asarray(array, dtype=np.float32) for array in (feature_ND, direction_HD))
    return Embedding(number, frame, features, directions)


def held_rows(num_tasks: int, num: int = 2) -> list[Row]:
    """Return ``num`` reals and fakes of every task, each an image of its own."""
    addresses = [(task, label) for task in range(num_tasks) for label in (0, 1) for _ in range(num)]
    return [
        (sample, task, label, ("real", "m")[label], "test", True, False)
        for sample, (task, label) in enumerate(addresses)
    ]


def drawn(axes: Axes) -> dict[tuple[str, bool], np.ndarray]:
    """Return the points by colour and whether they are filled."""
    found: dict[tuple[str, bool], list[np.ndarray]] = {}
    for collection in axes.collections:
        filled = len(collection.get_facecolor()) > 0
        colour = collection.get_facecolor() if filled else collection.get_edgecolor()
        name = next(n for n in (*COLOURS, GREY, PALE, "#C4C4C4") if np.allclose(to_rgb(n), np.asarray(colour)[0, :3]))
        found.setdefault((name, filled), []).append(np.asarray(collection.get_offsets()))
    return {key: points for key, parts in found.items() if len(points := np.concatenate(parts))}


def arrows(axes: Axes) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """Return start, shift and colour of each arrow."""
    found = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch]
    return [
        (np.array(text.xyann), np.array(text.xy) - text.xyann, text.arrow_patch.get_facecolor()[:3])  # type: ignore[union-attr]
        for text in found
    ]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


# 8 images of two tasks; the first two axes hold most of the variance after the last task
LAST = np.array([[8, 0, 0], [8, 0, 0], [-8, 2, 0], [-8, 2, 0], [8, 0, 0], [8, 0, 0], [-8, -2, 0], [-8, -2, 0]])


def test_plane_is_fitted_once_on_what_is_held_back_after_the_last_task() -> None:
    # before, everything varied along the third axis; and the training row after the last task lies far out along it
    first = embedding(1, held_rows(2), [[8, 0, 50 * i] for i in range(8)])
    train: Row = (99, 0, 1, "m", "train", True, False)
    last = embedding(2, [*held_rows(2), train], [*LAST, [0, 0, 900]])
    figure = latent_space([first, last], tasks(2), "Replay")
    before, after = figure.axes
    seen = np.concatenate(list(drawn(before).values()))
    assert len(seen) == 8
    assert np.abs(seen) == pytest.approx(np.tile([8, 0], (8, 1)))
    assert sum(map(len, drawn(after).values())) == 8
    assert after.get_xlabel() == "first component after task 2 (97%)"
    assert before.get_xlim() == after.get_xlim()


def test_domains_are_told_apart_by_colour_and_filling() -> None:
    figure = latent_space([embedding(1, held_rows(2), LAST), embedding(2, held_rows(2), LAST)], tasks(2), "Replay")
    before, after = (drawn(axes) for axes in figure.axes)
    one, two = COLOURS[:2]
    assert {key: len(points) for key, points in before.items()} == {(PALE, True): 4, (one, False): 2, (one, True): 2}
    assert {key: len(points) for key, points in after.items()} == dict.fromkeys(
        [(one, False), (one, True), (two, False), (two, True)], 2
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["after 1 a_method_1", "after 2 a_method_2"]
    assert legend(figure) == [
        "1 a_method_1",
        "2 a_method_2",
        "real, in the colour of its task",
        "of a later task",
        "towards fake, as a head decides",
    ]


def test_real_that_returns_is_drawn_once_and_in_no_task_s_colour() -> None:
    rows = held_rows(2)
    rows[4:6] = [(0, 1, 0, "real", "test", True, False), (1, 1, 0, "real", "test", True, False)]
    figure = latent_space([embedding(2, rows, LAST)], tasks(2), "Replay")
    points = drawn(figure.axes[0])
    assert {key: len(found) for key, found in points.items()} == {
        (GREY, False): 2,
        (COLOURS[0], True): 2,
        (COLOURS[1], True): 2,
    }
    assert "real, of several tasks" in legend(figure)
    assert "real, in the colour of its task" not in legend(figure)


def test_reals_of_one_shared_domain_are_grey() -> None:
    figure = latent_space([embedding(2, held_rows(2), LAST)], tasks(2, real_domain=0), "Replay")
    assert len(drawn(figure.axes[0])[GREY, False]) == 4


def test_arrow_is_the_head_s_direction_on_the_plane_from_the_mean_of_the_images_so_far() -> None:
    # the plane's axes are those of the features; (3, 4, 0) is (.6, .8) long there, and of (0, 0, 2) nothing is seen
    cross = [[9, 0, 0], [-9, 0, 0], [0, 3, 0], [0, -3, 0]]
    figure = latent_space([embedding(1, held_rows(1), cross, [[3, 4, 0], [0, 0, 2]])], tasks(1), "Replay")
    axes = figure.axes[0]
    (start, shift, colour), (_, unseen, _) = arrows(axes)
    assert start == pytest.approx([0, 0], abs=1e-6)
    assert np.abs(shift) / (ARROW * np.ptp(axes.get_ylim())) == pytest.approx([0.6, 0.8], abs=1e-6)
    assert unseen == pytest.approx([0, 0], abs=1e-6)
    assert colour == to_rgb("black")
    assert axes.get_aspect() == 1  # or 53 degrees would not look like 53 degrees


def test_arrow_points_to_where_the_head_says_fake() -> None:
    cross = [[9, 0, 0], [8, 0, 0], [-9, 3, 0], [-9, -3, 0]]  # reals, then fakes
    (axes,) = latent_space([embedding(1, held_rows(1), cross, [[-1, 0, 0]])], tasks(1), "Replay").axes
    points = drawn(axes)
    to_fake = points[COLOURS[0], True].mean(axis=0) - points[COLOURS[0], False].mean(axis=0)
    assert arrows(axes)[0][1] @ to_fake > 0


def test_heads_of_tasks_have_the_tasks_colours() -> None:
    figure = latent_space([embedding(2, held_rows(2), LAST, [[1, 0, 0], [0, 1, 0]])], tasks(2), "SUR-LID")
    assert [colour for _, _, colour in arrows(figure.axes[0])] == [to_rgb(name) for name in COLOURS[:2]]


def test_method_without_heads_has_no_arrows() -> None:
    figure = latent_space([embedding(2, held_rows(2), LAST, np.zeros((0, 3)))], tasks(2), "iCaRL")
    assert arrows(figure.axes[0]) == []
    assert legend(figure)[-1] == "real, in the colour of its task"


@pytest.mark.parametrize("num", [1, 10])
def test_legend_and_titles_stay_within_the_figure(num: int) -> None:
    generator = np.random.default_rng(0)
    rows = held_rows(num)
    found = [embedding(number, rows, generator.normal(size=(len(rows), 3))) for number in range(1, num + 1)]
    for figure in (latent_space(found, tasks(num), "Replay"), memory_map(found, tasks(num), "Replay")):
        figure.draw_without_rendering()
        texts = [*figure.legends[0].get_texts(), *(axes.title for axes in figure.axes)]
        for text in [*texts, *figure.texts]:
            left, bottom, right, top = text.get_window_extent().extents
            assert min(left, bottom) >= 0, text
            assert right <= figure.bbox.width, text
            assert top <= figure.bbox.height, text
        legend_box = figure.legends[0].get_window_extent()
        assert not any(axes.get_window_extent().overlaps(legend_box) for axes in figure.axes)
    assert len(legend(latent_space(found, tasks(num), "Replay"))) >= num + 2


def trained(number: int, generator: np.random.Generator) -> Embedding:
    """Return six training rows of each domain so far, the last one only there as it is remembered, with a second."""
    rows: list[Row] = [
        (100 * task + 10 * label + i, task, label, ("real", "m")[label], "train", i < 5, i in (2, 5))
        for task in range(number)
        for label in (0, 1)
        for i in range(6)
    ]
    return embedding(number, rows, generator.normal(size=(len(rows), 3)) * [3, 1, 1])


def test_memory_map_shows_each_task_s_images_as_they_were_when_it_ended() -> None:
    generator = np.random.default_rng(0)
    embeddings = [trained(number, generator) for number in (1, 2)]
    figure = memory_map(embeddings, tasks(2), "Replay")
    one_real, two_real, one_fake, two_fake = figure.axes
    for axes, of, label in ((one_real, 0, 0), (one_fake, 0, 1), (two_real, 1, 0), (two_fake, 1, 1)):
        own = embeddings[of].rows.query(f"task == {of} and label == {label}").index
        feature_ND = embeddings[of].feature_ND[own]
        magnitude, angle = magnitude_and_angle(feature_ND, feature_ND[:5])  # the sixth is no part of the sub-sample
        expected = np.stack([magnitude, angle], axis=1)
        points = drawn(axes)
        assert points[COLOURS[label], True] == pytest.approx(expected[[2, 5]])
        assert points["#C4C4C4", True] == pytest.approx(expected[[0, 1, 3, 4]])
        assert [text.get_text() for text in axes.texts] == ["2 picked"]
    assert one_real.get_title(loc="left") == "1 a_method_1"
    assert one_real.get_ylim() == (0, 180)


def test_memory_map_leaves_out_what_has_no_spread() -> None:
    rows: list[Row] = [(i, 0, int(i > 0), "m", "train", True, False) for i in range(4)]
    real, fake = memory_map([embedding(1, rows, np.eye(4, 3))], tasks(1), "Replay").axes
    assert drawn(real) == {}
    assert len(drawn(fake)["#C4C4C4", True]) == 3


@pytest.mark.parametrize(("num", "columns"), [(1, 1), (5, 5), (6, 3), (10, 5)])
def test_memory_map_breaks_many_tasks_into_bands_of_like_length(num: int, columns: int) -> None:
    generator = np.random.default_rng(0)
    figure = memory_map([trained(number, generator) for number in range(1, num + 1)], tasks(num), "Replay")
    assert len(figure.axes) == 2 * num
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == [f"{task + 1} a_method_{task + 1}" for task in range(num)]
    assert titles.index("") == columns
