from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.attribution_summary import ATTRIBUTION, SOURCES, attribution_columns, parse_sources
from continual_df.evaluation.results import load_results
from continual_df.evaluation.run_summary import format_summaries, read_summaries, run_summary
from tests.open_world_runs import write_open_world_run
from tests.runs import WriteRun, finish_run

SCORES = {key: number / 10 for number, key in enumerate(ATTRIBUTION.values())}


def result(number: int = 2, **sources: dict[str, Any]) -> dict[str, Any]:
    """Results of a run of two tasks with 20 test images, whose last open-world row is that after task ``number``."""
    rows = [{"row": number, "num_images": 20, "scores": SCORES, "by_source": sources}]
    return {"tasks": [{}, {}], "open_world": {"rows": rows}}


def inside(num_images: int, *scores: float | None) -> dict[str, Any]:
    names = ("known_acc", "novel_acc_v2", "novel_acc_strict", "all_acc")
    return {"num_images": num_images, **dict(zip(names, scores, strict=True))}


def test_row_of_a_run_holds_its_scores_after_the_last_task(tmp_path: Path) -> None:
    run = finish_run(write_open_world_run(tmp_path / "run"))
    row, last = run_summary(run), load_results(run)["open_world"]["rows"][-1]
    for column, key in ATTRIBUTION.items():
        assert row[column] == last["scores"][key]
    found = parse_sources(str(row[SOURCES]))
    assert list(found) == ["faces", "film"]
    for source, scores in found.items():
        for key, value in scores.items():
            assert value == pytest.approx(last["by_source"][source][key], abs=1e-6)


def test_runs_without_open_world_scores_have_empty_columns(write_run: WriteRun) -> None:
    row = run_summary(finish_run(write_run("run")))
    assert [row[column] for column in ATTRIBUTION] == [None] * len(ATTRIBUTION)
    assert row[SOURCES] == ""


def test_scores_of_an_earlier_task_are_not_those_after_the_last() -> None:
    assert attribution_columns(result(2))["all_acc"] == SCORES["all_acc"]
    assert set(attribution_columns(result(1)).values()) == {None, ""}


def test_sources_come_back_as_they_were_written() -> None:
    sources = {"celeba": inside(12, 0.9, None, None, 0.25), "ff|hq:2": inside(8, 0.5, 0.123456789, 0.0, None)}
    text = attribution_columns(result(2, **sources))[SOURCES]
    assert text == "celeba:0.900000:::0.250000|ff/hq/2:0.500000:0.123457:0.000000:"
    assert parse_sources(str(text)) == {
        "celeba": {"known_acc": 0.9, "novel_acc_v2": None, "novel_acc_strict": None, "all_acc": 0.25},
        "ff/hq/2": {"known_acc": 0.5, "novel_acc_v2": 0.123457, "novel_acc_strict": 0.0, "all_acc": None},
    }
    assert parse_sources("") == {}


def test_a_single_source_says_nothing_more() -> None:
    assert attribution_columns(result(2, orl=inside(20, 0.5, 0.5, 0.5, 0.5)))[SOURCES] == ""


@pytest.mark.parametrize(
    "text", ["a", "a:1:2:3", "a:1:2:3:4:5", ":1:2:3:4", "a:1:2:3:x", "a:1:2:3:nan", "a:1:2:3:4|a:1:2:3:4"]
)
def test_what_is_no_list_of_sources_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|could not convert"):
        parse_sources(text)


def test_rows_with_scores_come_back_from_a_file(tmp_path: Path) -> None:
    row, file = run_summary(finish_run(write_open_world_run(tmp_path / "run"))), tmp_path / "rows.csv"
    file.write_text(format_summaries([row]))
    assert read_summaries(file) == [row]
    file.write_text(file.read_text().replace("faces:", "faces:0:"))
    with pytest.raises(RunFolderError, match=r"rows\.csv: line 2, column 'attribution_by_source': expected NAME:"):
        read_summaries(file)


def test_files_of_earlier_versions_lack_the_columns(tmp_path: Path) -> None:
    row, file = run_summary(finish_run(write_open_world_run(tmp_path / "run"))), tmp_path / "rows.csv"
    file.write_text(format_summaries([row]))
    pd.read_csv(file, dtype=str, keep_default_na=False).drop(columns=[*ATTRIBUTION, SOURCES]).to_csv(file, index=False)
    assert read_summaries(file) == [{**row, **dict.fromkeys(ATTRIBUTION), SOURCES: ""}]
