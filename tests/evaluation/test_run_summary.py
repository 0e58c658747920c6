from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.attribution_summary import ATTRIBUTION, SOURCES
from continual_df.evaluation.cost_summary import COST_COLUMNS, by_task
from continual_df.evaluation.recipe import read_recipe
from continual_df.evaluation.results import evaluate_run
from continual_df.evaluation.run_summary import (
    COLUMNS,
    format_summaries,
    read_summaries,
    run_summary,
    what_is_missing,
)
from tests.runs import WriteRun, finish_run

HEAD = """\
# continual-df 0.1.0, torch 2.14.1, pandas 3.1.1
# python 3.11.7, git commit 82b8545-dirty
# working directory somewhere
"""


def rows_of(samples: list[int]) -> dict[str, list[int]]:
    """The columns of a memory of these samples."""
    return {"sample": samples, "label": [0] * len(samples), "method": [0] * len(samples), "task": [0] * len(samples)}


def write_files(run: Path, root: Path, samples: list[int]) -> int:
    """Write a file of another size for each sample, and return how many bytes they have together."""
    paths = pd.read_parquet(run / "frames.parquet")["path"]
    for sample in samples:
        (root / paths[sample]).parent.mkdir(parents=True, exist_ok=True)
        (root / paths[sample]).write_bytes(b"x" * (100 + sample))
    return sum(100 + sample for sample in samples)


def test_row_holds_the_summaries_costs_and_origin_of_a_run(write_run: WriteRun) -> None:
    run = finish_run(write_run("some/run_7", method="Replay", seed=7), train_flops=1000)
    (run / "config.yaml").write_text(HEAD + (run / "config.yaml").read_text())
    row, result = run_summary(run), evaluate_run(run)
    assert list(row) == list(COLUMNS)
    summary = result["summary"]["auc"]
    assert row["average_auc"] == summary["average"]
    for name in ("forgetting", "bwt", "fwt", "average_incremental", "plasticity"):
        assert row[name] == summary[name]
    assert row["tasks"] == "swap|warp|paint"
    final = [float(value) for value in str(row["final_auc"]).split("|")]
    assert final == pytest.approx(result["matrices"]["auc"][3], abs=1e-6)
    # three tasks of train and teacher; validation, prediction and what came before training are left out
    assert (row["train_flops"], row["train_seconds"]) == (3 * (1000 + 100), 3 * (10 + 2))
    assert row["task_flops"] == "1100.0|1100.0|1100.0"
    own = [float(value) for value in str(row["own_auc"]).split("|")]
    assert own == pytest.approx(np.diagonal(np.array(result["matrices"]["auc"])[1:]), abs=1e-6)
    assert row["test_images"] == "30|30|30"
    assert (row["stream"], row["method"], row["seed"], row["run"]) == ("toy", "Replay", 7, "run_7")
    assert (row["memory_images"], row["memory_bytes"]) == (0, 0)
    assert row["stream_hash"] == json.loads((run / "stream.json").read_text())["hash"]
    assert row["commit"] == "82b8545-dirty"
    assert row["versions"] == "continual-df 0.1.0, torch 2.14.1, pandas 3.1.1, python 3.11.7"
    assert not any("somebody" in str(value) for value in row.values())


def test_memory_counts_each_file_once_and_the_values_beside_it(write_run: WriteRun, tmp_path: Path) -> None:
    values: dict[str, Sequence[object]] = {
        "fake_logit": list(np.zeros(3, dtype=np.float32)),
        "method_logits": list(np.zeros((3, 5), dtype=np.float32)),
    }
    root = tmp_path / "images"
    run = finish_run(write_run("run", root=root), memory={**rows_of([4, 9, 4]), **values})
    size = write_files(run, root, [4, 9])
    row = run_summary(run)
    assert (row["memory_images"], row["memory_bytes"]) == (3, size + 3 * 4 + 3 * 5 * 4)


def test_several_memories_count_together_and_their_numbers_are_no_values(write_run: WriteRun, tmp_path: Path) -> None:
    root = tmp_path / "images"
    run = finish_run(write_run("run", root=root), memory={**rows_of([4, 9, 4]), "memory": [0, 0, 1]})
    size = write_files(run, root, [4, 9])
    row = run_summary(run)
    assert (row["memory_images"], row["memory_bytes"]) == (3, size)


def test_memory_is_what_the_run_noted_where_a_file_has_gone(write_run: WriteRun, tmp_path: Path) -> None:
    run = finish_run(write_run("run", root=tmp_path / "images"), memory=rows_of([4, 9]))
    write_files(run, tmp_path / "images", [4])
    costs = json.loads((run / "compute.json").read_text())
    assert "stored_bytes" not in costs["tasks"][-1]
    assert (run_summary(run)["memory_images"], run_summary(run)["memory_bytes"]) == (2, None)
    for task in costs["tasks"]:
        task["stored_bytes"] = {"model": 50, "memory": 1000 + task["task"], "checkpoint": 60}
    (run / "compute.json").write_text(json.dumps(costs))
    assert run_summary(run)["memory_bytes"] == 1000 + costs["tasks"][-1]["task"]


def test_what_has_trained_is_named(write_run: WriteRun) -> None:
    run = finish_run(write_run("run"))
    assert run_summary(run)["devices"] == ""
    costs = json.loads((run / "compute.json").read_text())
    (run / "compute.json").write_text(json.dumps({**costs, "devices": ["NVIDIA H100", "cpu"]}))
    assert run_summary(run)["devices"] == "NVIDIA H100|cpu"


def test_memory_of_another_run_is_refused(write_run: WriteRun) -> None:
    run = finish_run(write_run("run"), memory=rows_of([4, 1000]))
    with pytest.raises(RunFolderError, match=r"memory\.parquet: its samples are not among the \d+ rows"):
        run_summary(run)


def test_run_that_is_not_finished_says_what_it_lacks(write_run: WriteRun) -> None:
    early = write_run("early", rows=3)
    with pytest.raises(RunFolderError, match=r"early' is not finished: 2 of 3 tasks are predicted\. Continue it with"):
        run_summary(early)
    assert what_is_missing(write_run("begun", rows=0)) == "0 of 3 tasks are predicted"
    run = write_run("run")
    assert what_is_missing(run) == "it has no compute.json"
    assert what_is_missing(finish_run(run)) is None
    costs = json.loads((run / "compute.json").read_text())
    (run / "compute.json").write_text(json.dumps({**costs, "tasks": costs["tasks"][:-1]}))
    assert what_is_missing(run) == "compute.json ends with task 2 of 3"


def test_recipe_is_equal_for_seeds_and_differs_for_what_is_learnt(write_run: WriteRun) -> None:
    def recipe(name: str, more: str = "", init_args: str = "{}") -> str:
        config = write_run(name, init_args=init_args, rows=0) / "config.yaml"
        config.write_text(config.read_text() + more)
        return read_recipe(config.parent).settings

    first = recipe("a", init_args="{memory: {init_args: {seed: 0, capacity: 5}}}")
    assert recipe("b", init_args="{memory: {init_args: {seed: 1, capacity: 5}}}") == first
    assert recipe("c", init_args="{memory: {init_args: {seed: 1, capacity: 6}}}") != first
    plain = recipe("d", "trainer: {max_epochs: 2, devices: 1}\nrun_dir: d\n")
    assert recipe("e", "trainer: {max_epochs: 2, devices: 2}\nrun_dir: e\n") == plain
    assert recipe("f", "trainer: {max_epochs: 3, devices: 1}\nrun_dir: f\n") != plain
    sized = recipe("g", "data: {class_path: ForgeryStream, init_args: {image_size: 64, num_workers: 0}}\n")
    assert recipe("h", "data: {class_path: ForgeryStream, init_args: {image_size: 64, num_workers: 2}}\n") == sized
    assert recipe("i", "data: {class_path: ForgeryStream, init_args: {image_size: 96, num_workers: 0}}\n") != sized
    assert recipe("j", "search: {trials: 0, space: {}}\n") == recipe("k")
    assert (
        recipe("l", "search: {trials: 2, space: {}}\n")
        != recipe("m", "search: {trials: 3, space: {}}\n")
        != recipe("n")
    )
    assert recipe("o", "max_flops_total: 1.0\n") != recipe("p")
    assert recipe("q", "data: {class_path: ForgeryStream, init_args: {reveal_unlabelled: true}}\n") != recipe("r")


def test_name_in_the_config_is_the_methods(write_run: WriteRun) -> None:
    run = write_run("run", method="SURLID")
    assert read_recipe(run).method == "SURLID"
    (run / "config.yaml").write_text("name: SUR-LID without IDA\n" + (run / "config.yaml").read_text())
    assert read_recipe(run).method == "SUR-LID without IDA"
    (run / "config.yaml").unlink()
    assert (read_recipe(run).method, read_recipe(run).seed, read_recipe(run).commit) == ("run", None, "")


def test_config_that_is_no_yaml_is_refused(write_run: WriteRun) -> None:
    run = write_run("run")
    (run / "config.yaml").write_text("model: [")
    with pytest.raises(RunFolderError, match=r"config\.yaml: not YAML \(.*line 1.*\)\. Restore the file\."):
        read_recipe(run)


def test_rows_come_back_from_a_file_as_they_were(write_run: WriteRun, tmp_path: Path) -> None:
    rows = [
        run_summary(finish_run(write_run("a", seed=0))),
        run_summary(finish_run(write_run("b", seed=1), memory=rows_of([1]))),
    ]
    assert rows[1]["memory_bytes"] is None
    rows[0] |= {"method": 'a "quoted", name', "fwt": None}
    file = tmp_path / "rows.csv"
    file.write_text(format_summaries(rows))
    assert read_summaries(file) == rows
    # columns of other programs are left out
    frame = pd.read_csv(file)
    frame.assign(more=1).to_csv(file, index=False)
    assert [list(row) for row in read_summaries(file)] == [list(COLUMNS)] * 2


def test_file_of_an_earlier_version_has_not_measured_what_it_lacks(write_run: WriteRun, tmp_path: Path) -> None:
    rows = [run_summary(finish_run(write_run("a")))]
    file = tmp_path / "rows.csv"
    file.write_text(format_summaries(rows))
    pd.read_csv(file).drop(columns=[*ATTRIBUTION, SOURCES, *COST_COLUMNS]).to_csv(file, index=False)
    (row,) = read_summaries(file)
    assert {row[column] for column, kind in COST_COLUMNS.items() if kind is not str} == {None}
    assert np.isnan(by_task(row, "own_auc")).tolist() == [True] * 3
    assert row["train_flops"] == rows[0]["train_flops"]


def test_separator_in_the_name_of_a_task_does_not_split_it(write_run: WriteRun) -> None:
    stream = write_run("run") / "stream.json"
    stream.write_text(stream.read_text().replace('"name": "swap"', '"name": "swap|old"'))
    assert run_summary(finish_run(stream.parent))["tasks"] == "swap/old|warp|paint"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("average_auc", "auc", "column 'average_auc' is missing"),
        ("\ntoy,Finetune,0", "\ntoy,Finetune,zero", "line 2, column 'seed': a number is expected, found 'zero'"),
        ("swap|warp|paint", "swap|warp", "line 2 has 2 tasks and 3 values in column 'final_auc'"),
        ("swap|warp|paint,", "swap|warp|paint,nan", "line 2, column 'final_auc': a number is expected"),
        ("|30|30,", "|30,", "line 2: 3 tasks, and 2 values in column 'test_images'"),
        ("\ntoy,Finetune", "\ntoy", "line 2 has other fields than the first line names"),
        ("\ntoy,Finetune", "\ntoy,toy,Finetune", "line 2 has other fields than the first line names"),
    ],
)
def test_broken_file_is_refused_with_its_line(
    old: str, new: str, problem: str, write_run: WriteRun, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(format_summaries([run_summary(finish_run(write_run("run")))]))
    assert file.read_text().count(old) == 1
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(RunFolderError, match=r"rows\.csv: ") as caught:
        read_summaries(file)
    assert problem in str(caught.value)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunFolderError, match=r"rows\.csv: cannot be read"):
        read_summaries(tmp_path / "rows.csv")
