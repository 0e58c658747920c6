from __future__ import annotations

import io

import pytest
from rich.console import Console

from continual_df.commands.tables import number, results_table
from continual_df.evaluation.results import evaluate_run
from tests.runs import WriteRun


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9124, ".912"),
        (-0.05, "-.050"),
        (1.0, "1.000"),
        (0.9999, "1.000"),
        (0.0, ".000"),
        (-0.0001, ".000"),
        (None, "-"),
    ],
)
def test_number_is_printed_as_papers_do(value: float | None, text: str) -> None:
    assert number(value) == text


def render(table: object, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_table_shows_tasks_average_and_forgetting_of_every_run(write_run: WriteRun) -> None:
    results = {"finetune": evaluate_run(write_run("a")), "replay[3]": evaluate_run(write_run("b", fade=0.1))}
    lines = render(results_table(results))
    assert sum(line.strip() == "finetune" for line in lines) == 1
    assert sum(line.strip() == "replay[3]" for line in lines) == 1
    for key, result in zip(("average", "forgetting"), (results["finetune"],) * 2, strict=True):
        line = next(line for line in lines if line.strip().startswith(key))
        assert number(result["summary"]["auc"][key]) in line.split()
    first = next(line for line in lines if "1 swap" in line).split()
    auc = results["finetune"]["matrices"]["auc"]
    assert first[2:4] == [number(auc[1][0]), number(auc[3][0])]
    interval = results["replay[3]"]["controls"]["null_reencode"]["interval"]
    expected = f"{number(interval['value'])} [{number(interval['low'])}, {number(interval['high'])}]"
    assert f"  control null_reencode: AUC {expected}" in lines


def test_table_fits_a_terminal_of_eighty_characters(write_run: WriteRun) -> None:
    result = evaluate_run(write_run("a"))
    result["tasks"][0]["name"] = "transposed_random_decoder"
    lines = render(results_table({"run": result}))
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_unfinished_run_says_how_far_it_is(write_run: WriteRun) -> None:
    lines = render(results_table({"run": evaluate_run(write_run("a", rows=3))}))
    assert any(line.strip() == "run (2 of 3 tasks)" for line in lines)
    assert next(line for line in lines if "3 paint" in line).split()[2] == "-"
