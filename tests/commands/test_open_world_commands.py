from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from continual_df.commands import evaluate, plot
from continual_df.commands.open_world_tables import class_tables, open_world_table
from continual_df.commands.tables import number
from continual_df.evaluation.results import evaluate_run
from tests.commands.test_tables import render
from tests.open_world_runs import write_open_world_run
from tests.runs import WriteRun


def result(folder: Path) -> dict[str, Any]:
    return evaluate_run(write_open_world_run(folder), num_draws=1)


def test_table_has_all_images_first_and_then_every_source(tmp_path: Path) -> None:
    found = result(tmp_path / "run")
    table = open_world_table({"cpl[1]": found})
    assert table is not None
    lines = render(table)
    scores = found["open_world"]["rows"][-1]["scores"]
    keys = ("known_acc", "novel_acc", "novel_acc_v2", "novel_acc_strict", "all_acc", "novel_nmi", "all_nmi", "auroc")
    start = next(index for index, line in enumerate(lines) if line.strip() == "cpl[1]")
    assert lines[start + 1].split() == ["all", "sources", *(number(scores[key]) for key in keys)]
    assert [line.split()[0] for line in lines[start + 2 : start + 4]] == ["faces", "film"]
    assert "cpl[1]: 6 classes in 6 of 7 heads (6 with at least 1 % of the images)" in lines
    assert "  discovered 2 of 2 unlabelled classes, lag 0.5 tasks" in lines
    assert "  forgetting of attribution .167" in lines
    assert all(len(line) <= 80 for line in lines)


def test_runs_without_open_world_scores_have_no_table(tmp_path: Path, write_run: WriteRun) -> None:
    plain = evaluate_run(write_run("plain"), num_draws=1)
    assert open_world_table({"plain": plain}) is None
    table = open_world_table({"plain": plain, "open": result(tmp_path / "open")})
    assert table is not None
    assert not any("plain" in line for line in render(table))


def test_every_class_has_a_line_with_the_heads_in_which_its_images_fall(tmp_path: Path) -> None:
    (table,) = class_tables({"cpl": result(tmp_path / "run")})
    lines = [line.split() for line in render(table)]
    for line in (
        ["real", "12", "real", "1.000", "real", "1.000"],
        ["swap", "12", "paint", ".667", "-", "-"],  # head 1 is matched with alien
        ["warp", "12", "warp", "1.000", "warp", "1.000"],
        ["paint", "12", "paint", ".917", "paint", ".917"],
        ["wild", "*", "12", "4", ".500", "4", ".500"],
        ["alien", "*", "12", "swap", "1.000", "swap", "1.000"],
    ):
        assert line in lines


def test_lines_of_classes_with_long_names_lose_no_digit_in_a_narrow_terminal(tmp_path: Path) -> None:
    found = result(tmp_path / "run")
    row = found["open_world"]["rows"][-1]
    for entry in row["classes"]:
        entry["name"] = f"transposed_random_decoder_{entry['id']}"
    row["known_heads"] = [f"transposed_random_decoder_{head}" for head in range(4)]
    lines = render(class_tables({"cpl": found})[0])
    assert all(len(line) <= 80 for line in lines)
    assert sum(line.count("1.000") for line in lines) == 6
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)


def test_evaluate_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(write_open_world_run(tmp_path / "run"))]) == 0
    printed = capsys.readouterr().out
    assert "OW-DFA" in printed
    assert "alien *" in printed


def test_plot_prints_the_table_and_draws_what_each_run_can_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_open_world_run(tmp_path / "runs" / "full")
    path = write_open_world_run(tmp_path / "runs" / "empty") / "predictions" / "task_3.parquet"
    pd.read_parquet(path).iloc[:0].to_parquet(path)
    assert plot.main([str(tmp_path / "runs"), "--no-images"]) == 0
    assert "OW-DFA" in capsys.readouterr().out
    drawn = {path.name for path in (tmp_path / "runs" / "figures").iterdir()}
    stems = ["attribution_confusion_full", "class_lives_empty", "class_lives_full", "head_use_full"]
    assert sorted(name for name in drawn if not name.endswith(("_auc.png", "_auc.svg"))) == [
        f"{stem}.{ending}" for stem in stems for ending in ("png", "svg")
    ]
