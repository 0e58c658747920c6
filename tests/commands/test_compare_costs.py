from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from continual_df import cli
from continual_df.evaluation.cost_summary import COST_COLUMNS
from continual_df.evaluation.run_summary import COLUMNS, Row, format_summaries
from tests.cost_runs import write_costs
from tests.runs import WriteRun, finish_run


def row(method: str, seed: int, own: str, flops: float, **values: str | float) -> Row:
    """A row of a stream of two tasks with test sets of 10 and 30 images."""
    given: Row = {
        "stream": "toy",
        "method": method,
        "seed": seed,
        "tasks": "swap|warp",
        "final_auc": "0.8|0.9",
        "own_auc": own,
        "own_acc": "0.5|0.6",
        "test_images": "10|30",
        "average_auc": 0.85,
        "memory_images": 0,
        "memory_bytes": 0,
        "train_flops": flops,
        "train_seconds": flops / 1e9 + seed,
        "pretrain_flops": 0.0,
        "search_flops": 3e9,
        "parameters": 12_345_678,
        "stored_bytes": 42_000_000,
        "stream_hash": "aaaaaaaaaa",
        "recipe": method,
    }
    return {**{column: "" if kind is str else None for column, kind in COLUMNS.items()}, **given, **values}


ROWS = [
    row("Independent", 0, "0.6|0.8", 4e12),
    row("Independent", 1, "0.7|0.7", 4e12),
    row("Pretrained", 1, "0.8|0.9", 9e12, pretrain_flops=5e12, cost_notes="What it saw is not stated."),
    row("Worse", 1, "0.6|0.5", 8e12),
]


def write(path: Path, rows: list[Row] = ROWS) -> Path:
    path.write_text(format_summaries(rows))
    return path


def compare(*arguments: object) -> int:
    return cli.main(["compare", "--draws", "0", *map(str, arguments)])


def section(out: Path) -> list[str]:
    """The lines of the Markdown section of errors and compute."""
    text = (out / "comparison.md").read_text()
    return text[text.index("Error and compute") : text.index("## What")].splitlines()


def test_costs_and_front_are_shown_without_a_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(write(tmp_path / "rows.csv"), "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "Error and compute; error is 1 - AUC right after each task" in printed
    assert "regret" not in printed
    title, _, heads, _, *lines = section(tmp_path / "out")[:7]
    assert title == "Error and compute; error is 1 - AUC right after each task:"
    assert heads == (
        "| method | n | average error | error by size | total TFLOPs | pretrain TFLOPs | search GFLOPs | parameters M | "
        "stored MB | Pareto front |"
    )
    # by size: (10 x .4 + 30 x .2) / 40 = .25 and .3
    assert lines[0] == (
        "| Independent | 2 | .300 ± .000 | .275 ± .035 | **4.00** | **0** | **3.00** | **12.3** | **42.0** | **on** |"
    )
    assert lines[1].endswith("| **.150** | **.125** | 9.00 | 5.00 | **3.00** | **12.3** | **42.0** | **on** |")
    assert lines[2].endswith("| .450 | .475 | 8.00 | **0** | **3.00** | **12.3** | **42.0** | off |")


def test_reference_adds_what_the_others_are_against_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write(tmp_path / "rows.csv")
    assert compare(rows, "--out", tmp_path / "out", "--reference", "Independent", "--suffix", 1) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Error and compute, against Independent; error is 1 - AUC right after each task" in printed
    assert "Costs of Pretrained on 'toy': What it saw is not stated." in printed
    assert "Against the reference, seed by seed" in printed
    heads = section(tmp_path / "out")[2]
    assert "| error, last 1 |" in heads
    assert heads.endswith(
        "| relative FLOPs | cumulative regret | regret per task | regret, relative | transfer, points | transfer, relative | "
        "Pareto front |"
    )
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    mine = table[table["method"] == "Pretrained"].set_index("quantity")
    expected = {
        "average_error": 0.15,
        "suffix_error": 0.1,
        "size_weighted_error": 0.1,
        "relative_flops": 9 / 4,
        "cumulative_regret": (0.2 - 0.3) + (0.1 - 0.3),
        "normalised_regret_per_task": -0.15,
        "normalised_regret_relative": -0.3 / 0.6,
        "forward_transfer_points": 0.2,
        "forward_transfer_relative": 0.2 / 0.3,
        "pareto_front": 1,
    }
    assert mine.loc[list(expected), "mean"].to_dict() == pytest.approx(expected)
    assert mine.loc[list(expected), "best"].tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1, 1]
    assert set(mine.loc[list(expected), "metric"]) == {"auc"}
    assert set(mine.loc[list(expected), "suffix"]) == {1}
    against = mine[mine["reference"].notna()]
    assert list(against.index) == list(expected)[3:9]
    assert set(against["reference"]) == {"Independent"}


def test_runs_without_a_partner_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write(tmp_path / "rows.csv", [*ROWS, row("Worse", 7, "0.1|0.1", 8e12)])
    assert compare(rows, "--out", tmp_path / "out", "--reference", "Independent") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Worse on 'toy' is measured against Independent in 1 of 2 runs: the others have no run" in printed
    table = pd.read_csv(tmp_path / "out/comparison.csv").query("method == 'Worse'").set_index("quantity")
    assert (table.loc["average_error", "n"], table.loc["relative_flops", "n"]) == (2, 1)


def test_rows_of_an_earlier_version_have_no_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.csv"
    pd.read_csv(write(tmp_path / "rows.csv")).drop(columns=list(COST_COLUMNS)).to_csv(old, index=False)
    assert compare(old, "--out", tmp_path / "rows", "--reference", "Worse") == 0
    printed = capsys.readouterr().out
    # compute is known all the same
    assert "relative" in printed
    assert "No error of Independent on 'toy': its rows do not say how each task stood" in " ".join(printed.split())
    assert compare(old, "--out", tmp_path / "none") == 0
    assert "Error and compute" not in capsys.readouterr().out


def test_folder_lends_a_row_of_an_earlier_version_what_it_lacks(write_run: WriteRun, tmp_path: Path) -> None:
    run = finish_run(write_run("runs/a"))
    write_costs(run, [{"pretrain": 5e9}, *[{"train": 1e9}] * 3])
    assert compare(run, "--out", tmp_path / "out") == 0
    old = pd.read_csv(tmp_path / "out/runs.csv").drop(columns=list(COST_COLUMNS)).assign(method="ours")
    old.to_csv(tmp_path / "old.csv", index=False)
    assert compare(run, tmp_path / "old.csv", "--out", tmp_path / "both") == 0
    one, both = (pd.read_csv(tmp_path / out / "comparison.csv") for out in ("out", "both"))
    pd.testing.assert_frame_equal(both, one.assign(method="ours"))
    assert {"average_error", "pretrain_flops"} <= set(both["quantity"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["--reference", "FT-d"],
            "--reference 'FT-d' is not among the methods. Use one of Independent, Pretrained, Worse.",
        ),
        (["--suffix", "4"], "--suffix is 4: stream 'toy' has 2 tasks. Give a number from 1 to that."),
        (["--error", "eer"], "--error 'eer' is not known. Use one of auc, acc, top1."),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(write(tmp_path / "rows.csv"), *arguments, "--out", tmp_path / "out") == 2
    assert capsys.readouterr().err == f"continual-df compare: {problem}\n"
    assert not (tmp_path / "out").exists()


def test_error_can_be_that_of_the_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(write(tmp_path / "rows.csv"), "--out", tmp_path / "out", "--error", "acc") == 0
    assert "error is 1 - accuracy at 0.5 right after each task" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out/comparison.csv").query("quantity == 'average_error'")
    assert set(table["mean"].round(9)) == {0.45}


def test_stream_without_the_reference_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write(tmp_path / "rows.csv", [*ROWS, row("Worse", 1, "0.1|0.1", 1e9, stream="other", stream_hash="b")])
    assert compare(rows, "--out", tmp_path / "out", "--reference", "Independent") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Nothing on 'other' is measured against Independent: it has no run there." in printed
    assert printed.count("against Independent; error") == 1
