from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from continual_df.errors import UnreadableImageError
from continual_df.plots.contact_sheet import SIDE, Example, MethodRow, contact_sheet
from continual_df.plots.stream_examples import stream_examples

STREAM = {"name": "toy", "tasks": [{"index": 0, "methods": ["warp"]}, {"index": 1, "methods": ["paint"]}]}


def shade(value: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), value, dtype=np.uint8)


def write(root: Path, rows: list[tuple[str, str, str, int, str]]) -> pd.DataFrame:
    """Write plain images (path, method, group, brightness, mask) and return their frame table."""
    for path, _, _, value, mask in rows:
        for name in filter(None, (path, mask)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((20, 20), value if name == path else 255, dtype=np.uint8)).save(root / name)
    frame = pd.DataFrame(rows, columns=["path", "method", "group", "value", "mask"])
    return frame.assign(source="faces", label=(~frame["method"].str.match("real|null_")).astype(int))


def everything(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"sample": range(len(frame)), "task": 0, "split": "test"})


def brightness(picture: np.ndarray | None) -> int | None:
    return None if picture is None else int(picture[SIDE // 2, SIDE // 2, 0])


def test_fakes_stand_beside_their_own_real_and_mask(tmp_path: Path) -> None:
    frame = write(
        tmp_path,
        [
            ("real/a/1.png", "real", "a", 10, ""),
            ("real/a/2.png", "real", "a", 20, ""),
            ("real/b/1.png", "real", "b", 30, ""),
            ("warp/a/2.png", "warp", "a", 120, "masks/a.png"),
            ("warp/b/7.png", "warp", "b", 130, ""),
            ("paint/c.png", "paint", "c", 140, ""),
            ("null/a/1.png", "null_reencode", "a", 11, ""),
            ("held/b.png", "held", "b", 150, ""),
        ],
    )
    rows = stream_examples(frame, everything(frame), STREAM, tmp_path)
    assert [(row.method, row.place) for row in rows] == [
        ("warp", "task 1"),
        ("paint", "task 2"),
        ("held", "held out"),
        ("null_reencode", "control"),
    ]
    shades = {row.method: [tuple(map(brightness, example)) for example in row.examples] for row in rows}
    assert shades["warp"] == [(20, 120, 255), (30, 130, None)]  # the same file name first, else the group's first
    assert shades["paint"] == [(10, 140, None)]  # no real of its group: one of its source
    assert shades["null_reencode"] == [(10, 11, None)]


def test_examples_come_from_different_groups_and_only_from_the_stream(tmp_path: Path) -> None:
    frame = write(tmp_path, [(f"warp/{i}.png", "warp", f"g{i // 4}", i, "") for i in range(16)])
    used = everything(frame).iloc[:12]
    (row, _) = stream_examples(frame, used, STREAM, tmp_path, num=3)
    assert [brightness(example.fake) for example in row.examples] == [0, 4, 8]
    assert all(example.real is None for example in row.examples)


def test_classes_of_one_source_have_their_own_examples_and_reals_of_one_source_no_line(tmp_path: Path) -> None:
    frame = write(tmp_path, [(f"{m}/{i}.png", m, f"{i}", 10 * i, "") for m in ("real", "warp") for i in range(4)])
    frame["source"] = ["a", "b", "a", "b"] * 2
    task = {"index": 0, "methods": ["warp@b"], "unlabelled": ["real@b"]}
    rows = stream_examples(frame, everything(frame), {"tasks": [task], "held_out": ["warp@a"]}, tmp_path)
    assert [(row.method, row.place, len(row.examples)) for row in rows] == [
        ("warp@b", "task 1", 2),
        ("warp@a", "held out", 2),
    ]
    assert [brightness(example.fake) for row in rows for example in row.examples] == [10, 30, 0, 20]


def test_missing_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    frame = write(tmp_path, [("warp/1.png", "warp", "a", 1, "")])
    (tmp_path / "warp" / "1.png").unlink()
    with pytest.raises(UnreadableImageError, match=r"warp.1\.png"):
        stream_examples(frame, everything(frame), STREAM, tmp_path)


def test_sheet_places_every_picture_under_its_heading() -> None:
    rows = [
        MethodRow("task 1", "warp", [Example(shade(10), shade(20), shade(30)), Example(shade(40), shade(50), None)]),
        MethodRow("task 2", "paint", [Example(None, shade(60), None)]),
    ]
    (axes,) = contact_sheet(rows, "toy").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["real", "fake", "mask"] * 2
    assert [label.get_text() for label in axes.get_yticklabels()] == ["warp\ntask 1", "paint\ntask 2"]
    sheet = np.asarray(axes.images[0].get_array())
    columns, lines = axes.get_xticks(), axes.get_yticks()
    values = [[int(sheet[int(y), int(x), 0]) for x in columns] for y in lines]
    assert values == [[10, 20, 30, 40, 50, 240], [240, 60, 240, 240, 240, 240]]


def test_masks_have_no_column_where_no_method_has_one() -> None:
    (axes,) = contact_sheet([MethodRow("task 1", "warp", [Example(shade(1), shade(2), None)])], "toy").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["real", "fake"]
