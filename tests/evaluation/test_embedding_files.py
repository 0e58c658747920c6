from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.embedding_files import (
    Embedding,
    embedding_files,
    read_embedding,
    remove_embeddings,
    write_embedding,
)


def embedding(number: int) -> Embedding:
    rows = pd.DataFrame(
        {
            "sample": [4, 9],
            "task": [0, 1],
            "label": [0, 1],
            "method": ["real", "sd2.1"],
            "split": ["test", "train"],
            "drawn": [True, False],
            "in_memory": [False, True],
        }
    )
    feature_ND = np.array([[0.1, 1e6, -2], [3, 4, 5]], dtype=np.float32)
    return Embedding(number, rows, feature_ND, np.array([[1, 0, 0]], dtype=np.float32))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = embedding(2)
    write_embedding(written, tmp_path)
    read = read_embedding(tmp_path, 2)
    assert read.rows.to_dict() == written.rows.to_dict()
    assert read.feature_ND.dtype == read.direction_HD.dtype == np.float32
    assert (read.feature_ND == written.feature_ND).all()
    assert (read.direction_HD == written.direction_HD).all()


def test_files_are_in_the_order_of_the_tasks_and_others_are_left_alone(tmp_path: Path) -> None:
    for number in (10, 2):
        write_embedding(embedding(number), tmp_path)
    (tmp_path / "task_x.npz").touch()
    assert list(embedding_files(tmp_path)) == [2, 10]
    remove_embeddings(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["task_x.npz"]


@pytest.mark.parametrize("name", ["task_1.npz", "heads_1.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_damage_is_one_sentence(tmp_path: Path, name: str, damage: str) -> None:
    write_embedding(embedding(1), tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[:100])
    if damage == "other":
        np.savez(path, something=np.zeros(3))
    with pytest.raises(RunFolderError, match=rf"{name}' cannot be read .*\. Run 'continual-df embed' again\.$"):
        read_embedding(tmp_path, 1)
