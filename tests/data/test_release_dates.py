from __future__ import annotations

import csv
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from continual_df.data.methods import DF40_METHODS, KNOWN_METHODS
from continual_df.data.readers import forgerynet
from continual_df.data.release_dates import FILE, release_dates
from continual_df.data.task_order import Named, by_date, by_permutation

ROWS = list(csv.DictReader(FILE.open(encoding="utf-8", newline="")))
EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def of(dataset: str) -> set[str]:
    return {row["method"] for row in ROWS if dataset in row["datasets"].split(";")}


def tasks_of(experiment: str) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = yaml.safe_load((EXPERIMENTS / experiment).read_text())["data"]["init_args"]["tasks"]
    return tasks


def test_there_is_a_row_for_every_known_method_and_for_no_other() -> None:
    assert [row["method"] for row in ROWS] == [method.name for method in KNOWN_METHODS]


def test_every_method_of_the_four_data_sets_is_marked() -> None:
    assert of("DF40") == {method.name for method in DF40_METHODS}
    assert of("ForgeryNet") == set(forgerynet.METHODS[1:])
    assert of("CDDB") == {method for task in tasks_of("cddb/long.yaml") for method in task["methods"]}
    assert of("AI-GenBench") == {m for task in tasks_of("ai_genbench_windows.yaml") for m in task["methods"]}


def test_dates_are_dates_and_unknown_ones_say_why() -> None:
    for row in ROWS:
        if row["date"]:
            assert re.fullmatch(r"20\d\d-\d\d(-\d\d)?", row["date"]), row
            date.fromisoformat(row["date"] if len(row["date"]) == 10 else f"{row['date']}-01")
            assert row["source"].partition(":")[0] in ("arXiv", "paper", "code", "product"), row
        else:
            assert row["source"].startswith("unknown: "), row


def test_an_arxiv_paper_that_is_the_release_gives_its_month() -> None:
    cited = [row for row in ROWS if row["source"].startswith("arXiv:")]
    assert len(cited) > 60
    for row in cited:
        match = re.match(r"arXiv:(\d\d)(\d\d)\.\d{5} ", row["source"])
        assert match is not None, row
        assert row["date"][:7] == f"20{match[1]}-{match[2]}", row


def test_methods_of_ai_genbench_lie_in_its_windows() -> None:
    dates = release_dates()
    for task in tasks_of("ai_genbench_windows.yaml"):
        first, last = task["name"].split(" to ")
        assert all(first <= dates[method][:7] <= last for method in task["methods"]), task


@pytest.mark.parametrize("seed", range(3))
def test_the_windows_of_ai_genbench_come_in_order_by_date(seed: int) -> None:
    tasks = [Named(task["name"], tuple(task["methods"])) for task in tasks_of("ai_genbench_windows.yaml")]
    mixed = [tasks[place] for place in by_permutation(len(tasks), seed)]
    assert [mixed[place] for place in by_date(mixed).positions] == tasks


def test_most_methods_have_a_date() -> None:
    assert release_dates()["simswap"] == "2021-06"
    assert [name for name, day in release_dates().items() if not day] == [
        "faceswap",
        "facevid2vid",
        "heygen",
        "faceswap_ff",
        "uadfv",
        "blendface_fn",
        "mmreplacement",
        "talkingheadvideo",
        "faceapp",
    ]
