"""What is written about the images: DeepfakeBench's JSON, one file a method, and the frame table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from continual_df.data.frame_table import SPLITS, FrameTable, Skipped, check_frame
from continual_df.forgeries.operator import Family
from continual_df.labels import FAKE, REAL, REAL_METHOD

VERSION = "1"
"""Of the operators and the last mile together; raised whenever the same seed gives other bytes."""


@dataclass(frozen=True)
class Made:
    """One written image.

    Attributes:
        photo: The source photo: its own name for a real, the target's for a swap.
        method: ``real`` or the operator's name.
        family: Of the operator; None for a real.
        identity: The person, or ``target|donor``.
        split: ``train``, ``val`` or ``test``.
        meta: What was drawn for it; plain JSON values.
    """

    photo: str
    method: str
    family: Family | None
    identity: str
    split: str
    meta: dict[str, Any]


def frame_path(method: str, photo: str) -> str:
    """Return an image's path below the data set's folder."""
    return f"frames/{method}/{photo}/000.jpg"


def mask_path(method: str, photo: str) -> str:
    """Return a mask's path below the data set's folder."""
    return f"masks/{method}/{photo}/000.png"


def parameter_hash(meta: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of ``meta``."""
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]


def write_index(
    folder: Path, reals: Sequence[Made], fakes: Sequence[Made], skipped: Sequence[Skipped], source: str
) -> FrameTable:
    """Write ``<method>.json`` for each method in ``fakes`` into ``folder``; return the frame table.

    A method's JSON lists its fakes as ``<method>_Fake`` and all reals as ``<method>_Real``; a control's lists its images
    as ``<method>_Real``. Each video has DeepfakeBench's ``label``, ``frames``, ``masks`` and our ``meta``.
    """
    for method in dict.fromkeys(made.method for made in fakes):
        own = [made for made in fakes if made.method == method]
        control = own[0].family == "control"
        real_label, fake_label = f"{method}_Real", f"{method}_Fake"
        classes = {real_label: _videos(own if control else reals, real_label)}
        if not control:
            classes[fake_label] = _videos(own, fake_label)
        text = json.dumps({method: classes}, indent=1, sort_keys=True)
        (folder / f"{method}.json").write_text(text, encoding="utf-8")
    rows = [
        {
            "path": frame_path(made.method, made.photo),
            "label": FAKE if _is_fake(made) else REAL,
            "method": made.method,
            "source": source,
            "group": made.photo,
            "video": f"{made.method}/{made.photo}",
            "identity": made.identity,
            "split": made.split,
            "mask": mask_path(made.method, made.photo) if _is_fake(made) else "",
        }
        for made in (*reals, *fakes)
    ]
    return FrameTable(check_frame(pd.DataFrame(rows), folder), folder, list(skipped))


def _is_fake(made: Made) -> bool:
    return made.method != REAL_METHOD and made.family != "control"


def _videos(mades: Sequence[Made], label: str) -> dict[str, dict[str, Any]]:
    """Return split -> video id -> entry."""
    splits: dict[str, dict[str, Any]] = {split: {} for split in SPLITS}
    for made in mades:
        splits[made.split][made.photo] = {
            "label": label,
            "frames": [frame_path(made.method, made.photo)],
            "masks": [mask_path(made.method, made.photo)] if _is_fake(made) else [],
            "meta": {**made.meta, "identity": made.identity, "hash": parameter_hash(made.meta), "version": VERSION},
        }
    return splits
