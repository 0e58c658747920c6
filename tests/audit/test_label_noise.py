from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from continual_df.audit.label_noise import held_out_noise, train_noise
from continual_df.audit.subject import Subject, of_run, of_table
from continual_df.data.frame_table import FrameTable
from tests.runs import RunBuilder

NUM = 150


def two_tasks(folder: Path, noise: float, forgetting: bool, rows: int = 3) -> tuple[Subject, np.ndarray]:
    """A run of two tasks whose detector is good at the task just learnt; some labels of test and val are flipped."""
    rng = np.random.default_rng(0)
    builder = RunBuilder([["swap"], ["paint"]])
    truth, task_of = [], []
    for task, method in enumerate(("swap", "paint")):
        for number in range(NUM):
            for true in (0, 1):
                flipped = rng.random() < noise
                name = method if (true == 1) != flipped else "real"
                split = ("val", "test", "train")[number % 3]
                builder.add(name, task, split, group=f"g{task}.{number}", wrong=flipped)
                truth.append(true)
                task_of.append(task)
    side = 2 * np.array(truth) - 1
    logits = {}
    for row in range(rows):
        sure = np.where(np.array(task_of) == row - 1, 4.0, 0.0 if forgetting else 4.0)
        logits[row] = rng.normal(size=len(side)) + sure * side
    subject = of_run(builder.write(folder / "run", logits))
    return subject, subject.table.frame["wrong"].to_numpy()


@pytest.mark.parametrize("forgetting", [False, True])
def test_flipped_labels_of_held_out_rows_are_found_even_where_the_detector_forgets(
    tmp_path: Path, forgetting: bool
) -> None:
    subject, wrong = two_tasks(tmp_path, 0.05, forgetting)
    found = held_out_noise(subject)
    held = subject.members.loc[subject.members["split"] != "train", "sample"]
    hits = wrong[found.rows["sample"]]
    assert hits.mean() > 0.9
    assert hits.sum() / wrong[held].sum() > 0.9
    assert sum(found.num_checked.values()) == len(held) == 400
    assert found.notes == ()


def test_training_rows_are_not_judged_by_a_detector_that_trained_on_them(tmp_path: Path) -> None:
    found = held_out_noise(two_tasks(tmp_path, 0.05, False)[0])
    assert set(found.rows["split"]) == {"val", "test"}


def test_the_least_believable_label_comes_first_and_says_who_it_is(tmp_path: Path) -> None:
    found = held_out_noise(two_tasks(tmp_path, 0.05, False)[0]).rows
    assert found["margin"].is_monotonic_decreasing
    first = found.iloc[0]
    assert first["path"].endswith(f"/{first['sample']}.png")
    assert (first["prob_fake"] > 0.9) == (first["label"] == 0)


def test_tasks_that_are_not_learnt_yet_are_counted_and_left_out(tmp_path: Path) -> None:
    found = held_out_noise(two_tasks(tmp_path, 0.05, False, rows=2)[0])
    assert found.notes == ("200 rows of tasks that are not learnt yet",)
    assert sum(found.num_checked.values()) == 200


def test_rows_without_a_prediction_are_counted_and_left_out(tmp_path: Path) -> None:
    subject, _ = two_tasks(tmp_path, 0.0, False)
    assert subject.files is not None
    path = subject.files.predictions[2]
    table = pd.read_parquet(path)
    held = subject.members[subject.members["split"] == "test"]["sample"]
    gone = held[held > 300].iloc[:7]
    table[~table["sample"].isin(gone)].to_parquet(path)
    assert held_out_noise(subject).notes == ("7 rows without a prediction",)


def test_a_table_has_no_predictions(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["a"], "label": [0], "method": ["real"], "source": ["x"], "group": ["g"]})
    with pytest.raises(ValueError, match="needs a run"):
        held_out_noise(of_table("t", FrameTable(frame, tmp_path)))


def train_rows(noise: float, num_groups: int = 400) -> tuple[Subject, np.ndarray, np.ndarray]:
    """Features in which the class shows and so does the group: images of one group share their noise."""
    rng = np.random.default_rng(0)
    truth = np.tile([0, 1], num_groups)
    group = np.repeat(np.arange(num_groups), 2)
    wrong = rng.random(2 * num_groups) < noise
    feature = rng.normal(size=(2 * num_groups, 32)) + rng.normal(size=(num_groups, 32))[group]
    feature[:, 0] += 8 * truth
    label = np.where(wrong, 1 - truth, truth)
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(len(label))], "label": label, "source": "ff"})
    frame["method"], frame["group"] = np.where(label == 1, "swap", "real"), group.astype(str)
    frame["split"] = "train"
    return of_table("t", FrameTable(frame, Path())), wrong, feature


def test_flipped_labels_of_training_rows_are_found_by_probes_of_other_groups() -> None:
    subject, wrong, feature = train_rows(0.05)
    found = train_noise(subject, np.arange(len(wrong)), feature)
    hits = wrong[found.rows["sample"]]
    assert hits.mean() > 0.9
    assert hits.sum() / wrong.sum() > 0.4  # about half: such a row must look more like its class than the mean does


def test_a_domain_without_enough_groups_is_counted_as_not_checked() -> None:
    subject, wrong, feature = train_rows(0.05)
    subject.table.frame.loc[:3, "source"] = "tiny"
    subject.table.frame.loc[:3, "group"] = "one"
    found = train_noise(subject, np.arange(len(wrong)), feature)
    assert found.notes == ("'tiny' has too few groups of one side for folds: 4 rows not checked",)
    assert sum(found.num_checked.values()) == len(wrong) - 4
