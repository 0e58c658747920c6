from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation import open_world_results
from continual_df.evaluation.open_world import attribution_scores
from continual_df.evaluation.results import evaluate_run, load_results, write_results
from continual_df.labels import ABSENT
from tests.open_world_runs import HEADS, IDS, add_columns, write_open_world_run
from tests.runs import WriteRun


def section(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = evaluate_run(run, num_draws=1)["open_world"]
    return found


def change_stream(run: Path, **changes: Any) -> None:
    path = run / "stream.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_scores_are_those_of_the_classes_that_have_arrived(tmp_path: Path) -> None:
    rows = section(write_open_world_run(tmp_path / "run"))["rows"]
    assert [row["row"] for row in rows] == [1, 2, 3]
    for row, ids, fallen in zip(rows, IDS, HEADS, strict=True):
        names = [*ids, *(name for name in ("paint", "wild", "alien") if name not in ids)]
        pairs = [
            (names.index(name), head)
            for name, heads in fallen.items()
            for head, num in heads.items()
            for _ in range(num)
        ]
        true, predicted = zip(*pairs, strict=True)
        expected = attribution_scores(true, predicted, set(ids.values()))
        assert {name: row["scores"][name] for name in expected} == pytest.approx(expected)
        assert row["num_images"] == len(pairs)
        assert [entry["name"] for entry in row["classes"]] == names
        assert [entry["known"] for entry in row["classes"]] == [name in ids for name in names]
    assert [row["num_later"] for row in rows] == [12, 0, 0]  # warp has not come yet; the control is not counted
    assert [row["num_classes"] for row in rows] == [5, 6, 6]


def test_classes_have_their_accuracy_heads_and_match(tmp_path: Path) -> None:
    row = section(write_open_world_run(tmp_path / "run"))["rows"][-1]
    swap, wild = row["classes"][1], row["classes"][4]
    assert swap["heads"] == {"3": 8, "1": 4}
    assert (swap["accuracy"], swap["head"], swap["share"]) == (4 / 12, 3, 8 / 12)
    assert (wild["accuracy"], wild["num_images"], wild["head"], wild["match"]) == (None, 12, 4, 4)
    assert row["known_heads"] == ["real", "swap", "warp", "paint"]
    assert (row["num_heads"], row["num_used"], row["num_used_1pct"]) == (7, 6, 6)


def test_heads_that_no_image_can_have_are_not_counted(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    add_columns(run, 3, {"logit_method_6": np.full(len(pd.read_parquet(run / "frames.parquet")), ABSENT)})
    assert section(run)["rows"][-1]["num_heads"] == 6


def test_heads_with_a_small_share_of_the_images_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_world_results, "SMALL", 0.1)  # clusters 4 and 5 hold 6 of 72 images each
    row = section(write_open_world_run(tmp_path / "run"))["rows"][-1]
    assert (row["num_used"], row["num_used_1pct"]) == (6, 4)


def test_sources_are_scored_alone_where_they_hold_two_classes(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    frame = pd.read_parquet(run / "frames.parquet")
    frame.loc[frame["method"] == "alien", "source"] = "space"
    frame.to_parquet(run / "frames.parquet")
    row = section(run)["rows"][0]
    assert {source: part["num_images"] for source, part in row["by_source"].items()} == {"film": 24, "faces": 24}
    # within film: real 6 right, swap 6 right; paint and wild in heads of their own
    assert row["by_source"]["film"]["known_acc"] == pytest.approx(np.mean([5 / 6, 1]))
    assert set(row["by_source"]["film"]) == {"num_images", *row["scores"]}


def test_novelty_comes_from_the_softmax_unless_the_method_predicts_it(tmp_path: Path) -> None:
    softmax = section(write_open_world_run(tmp_path / "softmax"))["rows"]
    assert {row["novelty_score"] for row in softmax} == {"softmax"}
    # after task 2, paint and wild lie in clusters; alien looks like swap, three swaps like warp
    assert softmax[1]["scores"]["auroc"] == pytest.approx((24 + 12 / 2) / 36)
    assert softmax[1]["scores"]["fpr95"] == pytest.approx(1 / 3)
    assert softmax[1]["scores"]["oscr"] == pytest.approx(33 / 36 * (24 + 12 / 2) / 36)
    run = write_open_world_run(tmp_path / "own")
    novel = pd.read_parquet(run / "frames.parquet")["method"].isin(["paint", "wild", "alien"])
    for number in (1, 2, 3):
        add_columns(run, number, {"novelty": novel.to_numpy(dtype=float)})
    own = section(run)["rows"]
    assert {row["novelty_score"] for row in own} == {"own"}
    assert own[1]["scores"]["auroc"] == 1
    assert own[1]["scores"]["fpr95"] == 0
    assert own[1]["scores"]["known_acc"] == softmax[1]["scores"]["known_acc"]


def test_fakes_of_unnamed_methods_are_held_against_the_reals(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    method = pd.read_parquet(run / "frames.parquet")["method"]
    missed = method.isin(["paint", "wild"])
    for number in (2, 3):
        add_columns(run, number, {"logit_fake": np.where(missed, -1.0, method != "real")})
    rows = section(run)["rows"]
    assert rows[0]["scores"]["novel_auc"] == 1
    assert rows[1]["scores"]["novel_auc"] == pytest.approx(1 / 3)  # of paint, wild and alien the last alone is found
    assert rows[2]["scores"]["novel_auc"] == pytest.approx(1 / 2)  # paint has a name now
    assert rows[2]["by_source"]["film"]["novel_auc"] == pytest.approx(1 / 2)


def test_lives_and_their_summary(tmp_path: Path) -> None:
    found = section(write_open_world_run(tmp_path / "run"))
    paint, wild = found["lives"]["paint"], found["lives"]["wild"]
    assert paint["states"] == {"1": "unlabelled", "2": "discovered", "3": "named"}
    assert (paint["lag"], paint["heads"], paint["forgetting"]) == (1.0, {"2": 3}, None)
    assert wild["states"] == {"1": "discovered", "2": "discovered", "3": "unlabelled"}
    assert found["lives"]["alien"]["states"] == {"1": "held out", "2": "held out", "3": "held out"}
    assert list(found["lives"]) == ["real", "swap", "paint", "wild", "warp", "alien"]
    # forgetting: real rose from 10/12, swap fell to 4/12, warp stayed
    forgetting = (-2 / 12 + 8 / 12 + 0) / 3
    expected = {"num_unlabelled": 2, "num_discovered": 2, "lag": 0.5, "forgetting": forgetting, "match_rate": 0.0}
    assert found["summary"] == pytest.approx(expected)


def test_a_class_whose_name_went_to_its_cluster_is_matched(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    folder = run / "tasks" / "3"
    folder.mkdir(parents=True)
    for head, rate in ((3, 1.0), (4, 0.0)):  # paint had head 3 after task 2
        (folder / "matches.json").write_text(json.dumps({"paint": head}))
        assert section(run)["summary"]["match_rate"] == rate


def test_images_without_a_prediction_are_counted(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    path = run / "predictions" / "task_2.parquet"
    table = pd.read_parquet(path)
    table.loc[0, "logit_method_3"] = np.nan
    table.iloc[:-20].to_parquet(path)  # the last 20: 8 of alien and 12 controls
    row = section(run)["rows"][1]
    assert (row["num_images"], row["num_missing"]) == (72 - 9, 9)


def test_row_without_an_image_has_no_scores(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    path = run / "predictions" / "task_1.parquet"
    pd.read_parquet(path).iloc[:0].to_parquet(path)
    row = section(run)["rows"][0]
    assert (row["num_images"], row["num_missing"]) == (0, 60)
    assert set(row["scores"].values()) == {None}
    assert row["classes"] == row["head_order"] == []


def test_class_of_one_source_is_a_class_of_its_own(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    tasks = json.loads((run / "stream.json").read_text())["tasks"]
    change_stream(run, held_out=["wild@film", "alien"], tasks=[{**task, "unlabelled": []} for task in tasks])
    row = section(run)["rows"][-1]
    wild = next(entry for entry in row["classes"] if entry["name"] == "wild@film")
    assert wild["num_images"] == 6
    assert row["num_later"] == 6  # wild of the other source is no class of this stream


def test_results_hold_the_section_and_are_the_same_every_time(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    assert write_results(run, num_draws=1)["open_world"] == section(run) == load_results(run)["open_world"]
    assert json.loads((run / "results.json").read_text())["open_world"] == section(run)


def test_runs_without_novel_classes_or_without_heads_have_no_section(tmp_path: Path, write_run: WriteRun) -> None:
    assert "open_world" not in evaluate_run(write_run("plain"), num_draws=1)
    run = write_open_world_run(tmp_path / "controls")
    tasks = json.loads((run / "stream.json").read_text())["tasks"]
    change_stream(run, held_out=["null_reencode"], tasks=[{**task, "unlabelled": []} for task in tasks])
    assert "open_world" not in evaluate_run(run, num_draws=1)
    headless = write_open_world_run(tmp_path / "headless")
    for number in (1, 2, 3):
        path = headless / "predictions" / f"task_{number}.parquet"
        pd.read_parquet(path)[["sample", "logit_fake"]].to_parquet(path)
    assert "open_world" not in evaluate_run(headless, num_draws=1)


def test_columns_that_are_not_numbered_from_zero_are_refused(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    path = run / "predictions" / "task_1.parquet"
    pd.read_parquet(path).drop(columns="logit_method_2").to_parquet(path)
    with pytest.raises(RunFolderError, match=r"task_1\.parquet: columns logit_method_\* must be numbered from 0 on"):
        evaluate_run(run, num_draws=1)


def test_head_ten_comes_after_head_nine(tmp_path: Path) -> None:
    run = write_open_world_run(tmp_path / "run")
    extra = {f"logit_method_{head}": (9.0 if head == 10 else 0.0) for head in range(7, 11)}
    add_columns(run, 1, extra)
    assert section(run)["rows"][0]["head_order"] == [10]
