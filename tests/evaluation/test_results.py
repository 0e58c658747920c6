from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from continual_df.errors import RunFolderError
from continual_df.evaluation.results import METRICS, evaluate_run, load_results, write_results
from tests.runs import RunBuilder, WriteRun


def naive_auc(fake: list[float], real: list[float]) -> float | None:
    """Share of ordered pairs; None where a side is empty."""
    if not fake or not real:
        return None
    return float(np.mean([(f > r) + 0.5 * (f == r) for f in fake for r in real]))


def two_tasks() -> tuple[RunBuilder, dict[int, np.ndarray]]:
    """Reals shared by two tasks, one clip name under two methods, held-out fakes, a control, another source."""
    builder = RunBuilder([["swap"], ["warp", "drive"]])
    for person in range(12):
        split = "val" if person < 4 else "test"
        for _frame in range(2):
            builder.add("real", [0, 1], split, group=f"p{person}", video=f"{person:03}")
            builder.add("swap", 0, split, group=f"p{person}", video=f"{person:03}")
            builder.add("warp", 1, split, group=f"p{person}", video=f"{person:03}")
        builder.add("drive", 1, split, group=f"p{person}", video=f"{person:03}")
    for person in range(4, 10):
        builder.add("elastic", -1, group=f"p{person}", video=f"{person:03}")
        builder.add("null_reencode", -1, group=f"p{person}")
    for other in range(5):
        builder.add("real", 1, group=f"other{other}", source="other")
        builder.add("foreign", -1, group=f"unpaired{other}", source="other")
    generator = np.random.default_rng(0)
    fake = np.array([image["label"] for image in builder.images])
    return builder, {row: np.round(generator.normal(size=len(fake)) + row * fake, 1) for row in range(3)}


def scores(builder: RunBuilder, logit: np.ndarray, method: str, task: int, split: str = "test") -> list[float]:
    return [
        float(np.float32(logit[sample]))
        for sample, home, part in builder.members
        if part == split and home == task and builder.images[sample]["method"] == method
    ]


def test_matrices_equal_naive_computation(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=10)
    for row, logit in logits.items():
        for task, methods in enumerate(builder.tasks):
            fake = [value for method in methods for value in scores(builder, logit, method, task)]
            real = scores(builder, logit, "real", task)
            assert result["matrices"]["auc"][row][task] == pytest.approx(naive_auc(fake, real))
            right = sum(expit(f) >= 0.5 for f in fake) + sum(expit(r) < 0.5 for r in real)
            assert result["matrices"]["acc"][row][task] == pytest.approx(right / len(fake + real))
            assert result["matrices"]["racc"][row][task] == pytest.approx(np.mean(expit(real) < 0.5))
            assert result["matrices"]["facc"][row][task] == pytest.approx(np.mean(expit(fake) >= 0.5))
    assert result["tasks"][0] == {"index": 0, "name": "swap", "methods": ["swap"], "num_real": 16, "num_fake": 16}
    assert result["tasks"][1]["num_real"] == 21
    assert result["tasks"][1]["num_fake"] == 24
    assert result["measured"] == [0, 1, 2]
    assert result["notes"] == []


def test_rows_that_were_evaluated_before_are_taken_as_they_were(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    builder.write(tmp_path / "whole", {**logits, 1: np.where(np.arange(len(logits[1])) % 7, logits[1], np.nan)})
    whole, rows = evaluate_run(tmp_path / "whole", num_draws=10), {}  # type: ignore[var-annotated]
    for row in range(3):
        shutil.copytree(tmp_path / "whole", tmp_path / str(row))
        for later in range(row + 1, 3):
            (tmp_path / str(row) / "predictions" / f"task_{later}.parquet").unlink()
        assert evaluate_run(tmp_path / str(row), 10, rows) == evaluate_run(tmp_path / str(row), 10)
        assert list(rows) == list(range(row + 1))
    assert evaluate_run(tmp_path / "whole", 10, rows) == whole
    assert len(whole["notes"]) == 2
    rows[1] = rows[1]._replace(threshold=0.123)  # not evaluated again
    assert evaluate_run(tmp_path / "whole", 10, rows)["thresholds"][1] == 0.123


def test_videos_of_one_name_in_two_methods_stay_apart(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=10)
    clips: dict[tuple[str, str], list[float]] = {}
    for sample, task, split in builder.members:
        image = builder.images[sample]
        if task == 1 and split == "test":
            clip = image["video"] or f"image {sample}"
            clips.setdefault((image["method"], clip), []).append(float(expit(np.float32(logits[2][sample]))))
    fake = [float(np.mean(clip)) for (method, _), clip in clips.items() if method != "real"]
    real = [float(np.mean(clip)) for (method, _), clip in clips.items() if method == "real"]
    assert (len(fake), len(real)) == (16, 13)
    assert result["matrices"]["auc_video"][2][1] == pytest.approx(naive_auc(fake, real))
    assert result["has_videos"] is True


def test_video_metrics_without_videos_are_those_of_images(write_run: WriteRun) -> None:
    result = evaluate_run(write_run("run"), num_draws=10)
    assert result["has_videos"] is False
    assert result["matrices"]["auc_video"] == result["matrices"]["auc"]


def test_methods_stand_against_the_reals_that_compare(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=200)
    methods = result["methods"]["auc"]
    assert list(methods) == ["swap", "warp", "drive", "elastic", "foreign", "null_reencode"]
    for row, logit in logits.items():
        drive = naive_auc(scores(builder, logit, "drive", 1), scores(builder, logit, "real", 1))
        assert methods["drive"][row] == pytest.approx(drive)
        shared = {image["group"] for image in builder.images if image["method"] == "elastic"}
        twins = [
            float(np.float32(logit[sample]))
            for sample, image in enumerate(builder.images)
            if image["method"] == "real" and image["group"] in shared
        ]
        for name in ("elastic", "null_reencode"):
            assert methods[name][row] == pytest.approx(naive_auc(scores(builder, logit, name, -1), twins))
        other = scores(builder, logit, "real", 1)[-5:]  # groups without reals: those of the same source
        assert methods["foreign"][row] == pytest.approx(naive_auc(scores(builder, logit, "foreign", -1), other))
    control = result["controls"]["null_reencode"]
    assert control["auc"] == methods["null_reencode"]
    assert control["interval"]["value"] == pytest.approx(methods["null_reencode"][2])
    assert control["interval"]["low"] < control["interval"]["value"] < control["interval"]["high"]
    assert "null_reencode" not in result["intervals"]["auc"]["methods"]


def test_control_inside_a_task_is_no_negative_of_that_task(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    expected = evaluate_run(builder.write(tmp_path / "without", logits), num_draws=10)["matrices"]
    for row in logits:
        logits[row] = np.r_[logits[row], 9.0]
    builder.add("null_resample", 0, group="p5")
    assert evaluate_run(builder.write(tmp_path / "with", logits), num_draws=10)["matrices"] == expected


def test_threshold_comes_from_the_validation_images_of_the_tasks_so_far(tmp_path: Path) -> None:
    builder = RunBuilder([["a"], ["b"]])
    logit = []
    # task 1 separates at P = .7 (between .6 and .8), task 2 at .3; test images lie just beside them
    for task, method, real, fake in ((0, "a", 0.6, 0.8), (1, "b", 0.2, 0.4)):
        for split in ("val", "test"):
            builder.add("real", task, split)
            builder.add(method, task, split)
            logit += [np.log(real / (1 - real)), np.log(fake / (1 - fake))]
    result = evaluate_run(builder.write(tmp_path / "run", {row: logit for row in range(3)}), num_draws=10)
    assert result["thresholds"][0] is None
    assert result["thresholds"][1] == pytest.approx(0.7)
    # both tasks: reals .2 .6, fakes .4 .8; cuts at .3 and .7 are equally good and equally far from .5: the lower
    assert result["thresholds"][2] == pytest.approx(0.3)
    assert result["matrices"]["acc"][1] == [0.5, 0.5]
    assert result["matrices"]["acc_val"][0] == [None, None]
    assert result["matrices"]["acc_val"][1] == [1.0, 0.5]
    assert result["matrices"]["acc_val"][2] == [0.5, 1.0]


def test_summary_is_that_of_the_matrix_and_errors_forget_upwards(tmp_path: Path) -> None:
    builder = RunBuilder([["a"], ["b"]])
    for task, method in enumerate("ab"):
        for label in ("real", method):
            for _ in range(4):
                builder.add(label, task)
    good, bad = [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1]
    logits = {0: bad + bad, 1: good + bad, 2: bad + good}
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=10)
    assert result["matrices"]["auc"] == [[0.5, 0.5], [1.0, 0.5], [0.5, 1.0]]
    assert result["matrices"]["eer"] == [[0.5, 0.5], [0.0, 0.5], [0.5, 0.0]]
    for metric, average, incremental, plastic in (("auc", 0.75, 0.875, 1.0), ("eer", 0.25, 0.125, 0.0)):
        assert result["summary"][metric] == {
            "average": average,
            "forgetting": 0.5,
            "first_minus_last": 0.5,
            "bwt": -0.5,
            "fwt": 0.0,
            "average_incremental": incremental,
            "plasticity": plastic,
            "next_task": 0.5,
        }
    assert set(result["summary"]) == set(result["matrices"]) == set(METRICS)


def test_one_class_test_set_is_null_and_said_once(tmp_path: Path) -> None:
    builder = RunBuilder([["a"], ["b"]])
    for method, task in (("real", 0), ("a", 0), ("a", 0), ("b", 1)):
        builder.add(method, task)
    result = evaluate_run(builder.write(tmp_path / "run", {row: [0, 1, 2, 3] for row in range(3)}), num_draws=10)
    assert [row[1] for row in result["matrices"]["auc"]] == [None, None, None]
    assert result["matrices"]["facc"][2][1] == 1.0
    assert result["matrices"]["racc"][2][1] is None
    said = [note for note in result["notes"] if "task 'b'" in note]
    assert said == ["task 'b': its test set has no reals, so AUC, AP and EER are null"]
    assert result["summary"]["auc"]["average"] == 1.0  # of the task that has both classes


def write_class_run(folder: Path, logits: dict[int, dict[int, list[float]]]) -> Path:
    """Write a run of tasks a+b (without reals), c (with reals) and a+b again; class logits by row and sample."""
    builder = RunBuilder([["a", "b"], ["c"], ["a", "b"]])
    for method, tasks in (("a", [0, 2]), ("a", [0, 2]), ("b", [0, 2]), ("c", [1]), ("real", [1])):
        builder.add(method, tasks)
    run = builder.write(folder, {row: np.zeros(5) for row in range(4)})
    stream = json.loads((run / "stream.json").read_text())
    class_ids = {"real": 0, "a": 1, "b": 2, "c": 3}
    for task, num in zip(stream["tasks"], (3, 4, 4), strict=True):
        task["class_ids"] = dict(list(class_ids.items())[:num])
    (run / "stream.json").write_text(json.dumps(stream))
    for row, by_sample in logits.items():
        path = run / "predictions" / f"task_{row}.parquet"
        table = pd.read_parquet(path)
        for head in range(len(by_sample[0])):
            table[f"logit_method_{head}"] = [by_sample[sample][head] for sample in table["sample"]]
        table.to_parquet(path)
    return run


def test_top1_is_over_the_classes_of_the_task_that_have_a_head(tmp_path: Path) -> None:
    first = {0: [9.0, 2, 1], 1: [9.0, 1, 2], 2: [9.0, 1, 2], 3: [0.0, 0, 0], 4: [0.0, 0, 0]}
    later = {0: [9.0, 2, 1, 8], 1: [9.0, 2, 1, 8], 2: [9.0, 1, 2, 8], 3: [1.0, 9, 9, 0], 4: [1.0, 9, 9, 0]}
    # after task 1 a fourth head is that of a cluster, not of class c
    cluster = {sample: [*row, 5.0] for sample, row in first.items()}
    result = evaluate_run(write_class_run(tmp_path / "run", {0: first, 1: cluster, 2: later}), num_draws=1)
    two = pytest.approx(2 / 3)
    assert result["matrices"]["top1"] == [[two, None, two], [two, None, two], [1, 0.5, 1], [None, None, None]]
    assert result["summary"]["top1"]["average"] == pytest.approx((1 + 0.5) / 2)
    assert result["summary"]["top1"]["plasticity"] == pytest.approx((2 / 3 + 0.5) / 2)
    assert "top1" not in result["methods"]


def test_images_without_class_logits_do_not_count_in_top1(tmp_path: Path) -> None:
    first = {0: [9.0, 2, 1], 1: [np.nan] * 3, 2: [9.0, 1, 2], 3: [0.0, 0, 0], 4: [0.0, 0, 0]}
    result = evaluate_run(write_class_run(tmp_path / "run", {1: first}), num_draws=1)
    assert result["matrices"]["top1"][1] == [1, None, 1]


def test_top1_is_null_where_the_method_tells_no_classes_apart(write_run: WriteRun) -> None:
    result = evaluate_run(write_run("run"), num_draws=1)
    assert {value for row in result["matrices"]["top1"] for value in row} == {None}
    assert set(result["summary"]["top1"].values()) == {None}


def test_results_from_before_a_metric_are_computed_anew(tmp_path: Path) -> None:
    run = write_class_run(tmp_path / "run", {})
    stored = write_results(run, num_draws=1)
    assert load_results(run) == stored
    del stored["matrices"]["top1"]
    (run / "results.json").write_text(json.dumps(stored))
    assert set(load_results(run)["matrices"]) == set(METRICS)


def test_row_zero_without_predictions_is_null(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    logits[0] = np.full(len(builder.images), np.nan)
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=10)
    for metric in METRICS:
        assert result["matrices"][metric][0] == [None, None]
    assert result["summary"]["auc"]["fwt"] is None
    assert result["notes"] == []


def test_images_without_a_prediction_are_left_out_and_counted(tmp_path: Path) -> None:
    builder, logits = two_tasks()
    missing = [sample for sample, task, split in builder.members if task == 0 and split == "test"][1]
    for row in (1, 2):
        logits[row][missing] = np.nan
    result = evaluate_run(builder.write(tmp_path / "run", logits), num_draws=10)
    assert result["notes"] == ["task 'swap': 1 of 32 test images have no prediction after task 1"]
    fake, real = (
        [value for value in scores(builder, logits[2], name, 0) if not np.isnan(value)] for name in ("swap", "real")
    )
    assert len(fake) == 15
    assert result["matrices"]["auc"][2][0] == pytest.approx(naive_auc(fake, real))


def test_unfinished_run_is_evaluated_up_to_its_last_row(write_run: WriteRun) -> None:
    result = evaluate_run(write_run("partial", rows=3), num_draws=10)
    assert result["measured"] == [0, 1, 2]
    assert result["matrices"]["auc"][3] == [None, None, None]
    assert result["intervals"]["auc"]["row"] == 2
    assert result["summary"]["auc"]["average"] == pytest.approx(np.mean(result["matrices"]["auc"][2][:2]))
    assert any(note.startswith("2 of 3 tasks are trained") for note in result["notes"])


def test_overflowed_logits_keep_their_rank(tmp_path: Path) -> None:
    builder = RunBuilder([["a"]])
    for method in ("real", "real", "a", "a"):
        builder.add(method, 0)
    run = builder.write(tmp_path / "run", {1: [-np.inf, 60, 80, np.inf]})
    assert evaluate_run(run, num_draws=10)["matrices"]["auc"][1] == [1.0]  # P(fake) of 60 and 80 is 1 for both


def test_average_interval_holds_the_average(write_run: WriteRun) -> None:
    result = evaluate_run(write_run("run"))
    intervals = result["intervals"]["auc"]
    assert intervals["average"]["value"] == pytest.approx(result["summary"]["auc"]["average"])
    assert intervals["average"]["low"] < intervals["average"]["value"] < intervals["average"]["high"]
    assert [entry["value"] for entry in intervals["tasks"]] == pytest.approx(result["matrices"]["auc"][3])
    assert set(intervals["methods"]) == {"swap", "warp", "paint"}


def test_writing_twice_gives_the_same_bytes_of_strict_json(write_run: WriteRun) -> None:
    run = write_run("run")
    first = write_results(run)
    before = (run / "results.json").read_bytes()
    assert write_results(run) == first

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    assert json.loads(before, parse_constant=refuse) == first
    assert (run / "results.json").read_bytes() == before
    assert [path.name for path in run.iterdir() if path.name.endswith(".partial")] == []


def test_thousand_draws_on_a_thousand_rows_a_task_take_seconds(tmp_path: Path) -> None:
    builder = RunBuilder([[name] for name in "abcde"])
    for task, name in enumerate("abcde"):
        for person in range(500):
            builder.add("real", task, group=f"{task}.{person}")
            builder.add(name, task, group=f"{task}.{person}")
    generator = np.random.default_rng(0)
    run = builder.write(tmp_path / "run", {row: generator.normal(size=5000) for row in range(6)})
    start = time.process_time()
    evaluate_run(run)
    assert time.process_time() - start < 6  # 1.5 s on an idle core


@pytest.mark.parametrize("name", ["frames.parquet", "membership.parquet", "stream.json"])
def test_missing_file_is_named(write_run: WriteRun, name: str) -> None:
    run = write_run("run")
    (run / name).unlink()
    with pytest.raises(RunFolderError, match=f"is no run folder: {name} missing"):
        evaluate_run(run)


def test_broken_files_are_named(write_run: WriteRun) -> None:
    run = write_run("truncated")
    (run / "predictions" / "task_1.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunFolderError, match=r"task_1\.parquet: cannot be read"):
        evaluate_run(run)
    run = write_run("twice")
    pd.DataFrame({"sample": [3, 3], "logit_fake": [0.1, 0.2]}).to_parquet(run / "predictions" / "task_2.parquet")
    with pytest.raises(RunFolderError, match=r"task_2\.parquet: sample 3 is predicted more than once"):
        evaluate_run(run)
    run = write_run("foreign")
    pd.DataFrame({"sample": [3, 9999], "logit_fake": [0.1, 0.2]}).to_parquet(run / "predictions" / "task_2.parquet")
    with pytest.raises(RunFolderError, match=r"samples 3\.\.9999 do not fit the 135 rows"):
        evaluate_run(run)
    run = write_run("column")
    pd.DataFrame({"sample": [3]}).to_parquet(run / "predictions" / "task_2.parquet")
    with pytest.raises(RunFolderError, match=r"task_2\.parquet.*logit_fake"):
        evaluate_run(run)
    run = write_run("empty")
    for path in (run / "predictions").iterdir():
        path.unlink()
    with pytest.raises(RunFolderError, match="has no predictions yet"):
        evaluate_run(run)


def test_evaluation_and_plots_never_import_torch() -> None:
    code = (
        "import sys, pkgutil, importlib, continual_df.evaluation as e, continual_df.plots as p\n"
        "for package in (e, p):\n"
        "    for module in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "import continual_df.commands.plot, continual_df.commands.evaluate, continual_df.commands.figures\n"
        "assert 'continual_df.plots.contact_sheet' in sys.modules\n"
        "print(sorted({'torch', 'lightning', 'pytorch_lightning', 'avalanche', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
