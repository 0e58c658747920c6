"""The files of a run's features: ``embedding/task_K.npz`` and ``heads_K.npz``, after each task K."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continual_df.errors import RunFolderError
from continual_df.files import remove, renamed

FOLDER = "embedding"
"""Where the files stand in a run folder."""

COLUMNS = {
    "sample": np.int64,
    "task": np.int64,
    "label": np.int64,
    "method": str,
    "split": str,
    "drawn": bool,
    "in_memory": bool,
}
"""Columns of `Embedding.rows` with their types."""


@dataclass(frozen=True)
class Embedding:
    """What the method makes of images after one task.

    Attributes:
        number: Tasks trained.
        rows: One membership a row, in the order of the features: ``sample``; ``task``, its index from 0, or -1; ``label``, 0
            real, 1 fake; ``method``; ``split``; ``drawn``, whether the row is in the uniform sub-sample of its domain
            (others are there because they are remembered); ``in_memory``, whether it is remembered under this task.
        feature_ND: Pooled features, float32.
        direction_HD: Normals of the heads' decision planes towards fake, float32.
    """

    number: int
    rows: pd.DataFrame
    feature_ND: NDArray[np.float32]
    direction_HD: NDArray[np.float32]


def embedding_files(folder: Path) -> dict[int, Path]:
    """Return the files ``task_K.npz`` in ``folder`` by K, in order."""
    found = {}
    for path in folder.glob("task_*.npz"):
        if match := re.fullmatch(r"task_(\d+)", path.stem):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def write_embedding(embedding: Embedding, folder: Path) -> None:
    """Write the two files of ``embedding``; ``task_K.npz`` comes last, so where it is, both are.

    Raises:
        WriteError: If the file system refuses.
    """
    columns = {name: embedding.rows[name].to_numpy().astype(kind) for name, kind in COLUMNS.items()}
    with renamed(_heads(folder, embedding.number)) as path:
        np.savez(path, direction_HD=embedding.direction_HD)
    with renamed(folder / f"task_{embedding.number}.npz") as path:
        np.savez(path, **columns, feature_ND=embedding.feature_ND)


def remove_embeddings(folder: Path) -> None:
    """Remove the files of earlier calls: those of two must not stand beside each other."""
    for number, path in embedding_files(folder).items():
        remove(path)
        remove(_heads(folder, number))


def read_embedding(folder: Path, number: int) -> Embedding:
    """Read the files of task ``number``.

    Raises:
        RunFolderError: If one is missing or broken.
    """
    columns = _read(folder / f"task_{number}.npz", (*COLUMNS, "feature_ND"))
    feature_ND = columns.pop("feature_ND")
    directions = _read(_heads(folder, number), ("direction_HD",))
    return Embedding(number, pd.DataFrame(columns), feature_ND, directions["direction_HD"])


def _heads(folder: Path, number: int) -> Path:
    return folder / f"heads_{number}.npz"


def _read(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(f"'{path}' cannot be read ({error}). Run 'continual-df embed' again.") from None
