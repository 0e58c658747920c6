"""Made-up images and data sets on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Write a small image whose pixels depend on its path alone; `size` is its side."""

    def write(path: Path, size: int = 16, seed: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(sum(map(ord, str(path))) if seed is None else seed)
        Image.fromarray(generator.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def deepfakebench_tree(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Write the frames of ``{class: {split: {video: frame paths}}}`` and its index; returns (index, root)."""

    def build(
        dataset: str,
        classes: dict[str, dict[str, dict[str, list[str]]]],
        *,
        compression: str | None = None,
        prefix: str = "",
        separator: str = "/",
        missing: tuple[str, ...] = (),
        extra: dict[str, dict[str, Any]] | None = None,
    ) -> tuple[Path, Path]:
        root = tmp_path / "images"
        root.mkdir(exist_ok=True)
        index: dict[str, Any] = {}
        for label, splits in classes.items():
            for split, videos in splits.items():
                entries = {
                    video: {
                        "label": label,
                        "frames": [(prefix + frame).replace("/", separator) for frame in frames],
                        **(extra or {}).get(video, {}),
                    }
                    for video, frames in videos.items()
                }
                index.setdefault(label, {})[split] = {compression: entries} if compression else entries
                for frame in (frame for frames in videos.values() for frame in frames if frame not in missing):
                    path = root / frame
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(frame.encode())
        file = tmp_path / "index" / f"{dataset}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({dataset: index}))
        return file, root

    return build
