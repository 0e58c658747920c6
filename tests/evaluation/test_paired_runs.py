from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.metrics import auc
from continual_df.evaluation.paired_runs import read_paired
from tests.runs import RunBuilder

NAN = float("nan")


def write(folder: Path, order: list[int], logits: list[float], group: str = "a") -> Path:
    """Write a run of one task whose four test images stand in the frame table in this order."""
    images = [("real", "r0", "a"), ("real", "r1", "b"), ("swap", "f0", group), ("swap", "f1", "b")]
    builder = RunBuilder([["swap"]])
    for number in order:
        method, path, of = images[number]
        builder.add(method, 0, path=path, group=of)
    return builder.write(folder, {1: [logits[number] for number in order]})


def test_images_are_paired_by_their_paths_whatever_their_rows(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [0, 1, 2, 3], [0.1, 0.4, 0.3, 0.9])
    other = write(tmp_path / "other", [3, 1, 0, 2], [0.2, 0.5, 0.6, 0.8])
    paired = read_paired({"a": [one], "b": [other, one]})
    assert paired.num_dropped == 0
    label, group = paired.sets[0]
    # in the order of the paths: f0, f1, r0, r1
    np.testing.assert_array_equal(np.asarray(label), [1, 1, 0, 0])
    assert list(np.asarray(group)) == ["a", "b", "a", "b"]
    np.testing.assert_allclose(paired.scores["a"][0][0], [0.3, 0.9, 0.1, 0.4])
    np.testing.assert_allclose(paired.scores["b"][0][0], [0.6, 0.8, 0.2, 0.5])
    np.testing.assert_array_equal(paired.scores["b"][1][0], paired.scores["a"][0][0])
    assert auc(label, paired.scores["a"][0][0]) == 0.75


def test_image_that_one_run_has_not_predicted_is_left_out_of_all(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [0, 1, 2, 3], [0.1, 0.4, NAN, 0.9])
    other = write(tmp_path / "other", [0, 1, 2, 3], [0.2, NAN, 0.6, 0.8])
    paired = read_paired({"a": [one], "b": [other]})
    assert paired.num_dropped == 2
    np.testing.assert_array_equal(np.asarray(paired.sets[0].label), [1, 0])
    np.testing.assert_allclose(paired.scores["a"][0][0], [0.9, 0.1])
    np.testing.assert_allclose(paired.scores["b"][0][0], [0.8, 0.2])


def test_runs_that_disagree_about_groups_are_not_paired(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [0, 1, 2, 3], [0.1, 0.4, 0.3, 0.9])
    other = write(tmp_path / "other", [0, 1, 2, 3], [0.1, 0.4, 0.3, 0.9], group="c")
    with pytest.raises(RunFolderError, match=r"do not agree on the group of the test images of task 1"):
        read_paired({"a": [one], "b": [other]})
