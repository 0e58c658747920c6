"""A made-up run of a stream that meets methods without a name, as the loop leaves it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.runs import RunBuilder

IDS = [
    {"real": 0, "swap": 1},
    {"real": 0, "swap": 1, "warp": 2},
    {"real": 0, "swap": 1, "warp": 2, "paint": 3},
]
"""Class ids after each task: warp and paint are named in tasks 2 and 3."""

UNLABELLED = [["paint", "wild"], ["paint"], []]
"""What comes without a label: paint until it is named, wild for good."""

HELD_OUT = ["wild", "alien", "null_reencode"]
NUM_HEADS = 7
CONFIG = "seed_everything: 0\nmodel:\n  class_path: methods.OpenWorldStream\n"

HEADS: list[dict[str, dict[int, int]]] = [
    {"real": {0: 10, 2: 2}, "swap": {1: 12}, "paint": {2: 6, 3: 6}, "wild": {4: 12}, "alien": {1: 12}},
    {"real": {0: 12}, "swap": {1: 9, 2: 3}, "warp": {2: 12}, "paint": {3: 10, 4: 2}, "wild": {5: 12}, "alien": {1: 12}},
    {
        "real": {0: 12},
        "swap": {1: 4, 3: 8},
        "warp": {2: 12},
        "paint": {3: 11, 0: 1},
        "wild": {4: 6, 5: 6},
        "alien": {1: 12},
    },
]
"""After each task, how many of the twelve test images of each class fall in which head."""


def write_open_world_run(folder: Path, heads: list[dict[str, dict[int, int]]] | None = None, **columns: Any) -> Path:
    """Write a run of three tasks whose test images fall in ``heads``, every second one of source 'film'.

    Args:
        folder: The run folder.
        heads: As `HEADS`; images of classes not named fall in head 0.
        columns: Columns added to the predictions, one value an image.
    """
    builder = RunBuilder([["swap"], ["warp"], ["paint"]])
    for name, task in (
        ("real", 0),
        ("swap", 0),
        ("warp", 1),
        ("paint", 2),
        ("wild", -1),
        ("alien", -1),
        ("null_reencode", -1),
    ):
        for index in range(12):
            builder.add(name, task, group=f"g{index}", source=("faces", "film")[index % 2])
    fake = np.array([image["label"] for image in builder.images], dtype=np.float64)
    run = builder.write(folder, dict.fromkeys(range(4), fake), CONFIG)
    stream = json.loads((run / "stream.json").read_text())
    for task, ids, unlabelled in zip(stream["tasks"], IDS, UNLABELLED, strict=True):
        task |= {"class_ids": ids, "unlabelled": unlabelled}
    (run / "stream.json").write_text(json.dumps({**stream, "held_out": HELD_OUT}))
    for number, fallen in enumerate(heads or HEADS, start=1):
        add_columns(run, number, {**head_columns(builder, fallen), **columns})
    return run


def head_columns(builder: RunBuilder, fallen: Mapping[str, Mapping[int, int]]) -> dict[str, NDArray[np.float64]]:
    """Return logits of `NUM_HEADS` heads: 4 in the head where an image falls, 0 in the others."""
    logit_NK = np.zeros((len(builder.images), NUM_HEADS))
    left = {name: [head for head, num in heads.items() for _ in range(num)] for name, heads in fallen.items()}
    for sample, image in enumerate(builder.images):
        waiting = left.get(image["method"])
        logit_NK[sample, waiting.pop(0) if waiting else 0] = 4
    return {f"logit_method_{head}": logit_NK[:, head] for head in range(NUM_HEADS)}


def add_columns(run: Path, number: int, columns: Mapping[str, Any]) -> None:
    """Add ``columns`` to the predictions after task ``number``."""
    path = run / "predictions" / f"task_{number}.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)
