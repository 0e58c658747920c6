from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from continual_df import cli
from continual_df.commands.comparison_tables import comparison_tables, markdown
from continual_df.commands.tables import number
from continual_df.evaluation.comparison import compare_rows
from continual_df.evaluation.results import evaluate_run
from continual_df.evaluation.run_summary import COLUMNS, Row, read_summaries, run_summary
from tests.open_world_runs import HEADS, write_open_world_run
from tests.runs import WriteRun, finish_run

FILES = {"comparison.md", "comparison.csv", "differences.csv", "runs.csv"}


def compare(*arguments: object) -> int:
    return cli.main(["compare", *map(str, arguments)])


@pytest.fixture
def two_methods(write_run: WriteRun, tmp_path: Path) -> Path:
    """Finetune, which forgets, with two seeds, and Replay, which hardly does and costs twice as much, with three."""
    for seed in range(2):
        finish_run(write_run(f"runs/finetune_{seed}", method="Finetune", seed=seed, fade=0.9), train_flops=1e9)
    for seed in range(3):
        finish_run(write_run(f"runs/replay_{seed}", method="Replay", seed=seed, fade=0.1), train_flops=2e9)
    return tmp_path / "runs"


def test_table_holds_mean_and_spread_of_every_method(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 100) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    found = [evaluate_run(two_methods / f"replay_{seed}")["summary"]["auc"]["average"] for seed in range(3)]
    cell = f"{np.mean(found):.3f}±{np.std(found, ddof=1):.3f}".replace("0.", ".")
    line = next(line for line in printed.splitlines() if line.startswith("Replay"))
    assert line.split()[1:3] == ["3", cell]
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    average = table[(table["method"] == "Replay") & (table["quantity"] == "average_auc")].iloc[0]
    assert (average["mean"], average["sd"], average["n"]) == pytest.approx((np.mean(found), np.std(found, ddof=1), 3))
    assert average["best"] == 1
    flops = table[table["quantity"] == "train_flops"].set_index("method")
    assert flops["mean"].to_dict() == {"Finetune": 3 * (1e9 + 100), "Replay": 3 * (2e9 + 100)}
    assert flops["best"].to_dict() == {"Finetune": 1, "Replay": 0}
    finals = table[table["quantity"] == "final_auc"]
    assert list(finals["task"].unique()) == ["swap", "warp", "paint"]
    text = (tmp_path / "out/comparison.md").read_text()
    assert f"| Replay | 3 | **{cell.replace('±', ' ± ')}** |" in text
    assert "Weights, teachers and prototypes are not counted." in text


def test_seconds_of_several_devices_are_told_apart(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, device in (("finetune_0", "cpu"), ("finetune_1", "cpu"), ("replay_0", "cpu"), ("replay_1", "NVIDIA H100")):
        costs = json.loads((two_methods / run / "compute.json").read_text())
        (two_methods / run / "compute.json").write_text(json.dumps({**costs, "devices": [device]}))
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 0) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "are of several devices: not noted (Replay); NVIDIA H100 (Replay); cpu (Finetune, Replay)." in printed
    table = pd.read_csv(tmp_path / "out/comparison.csv").query("quantity == 'train_seconds'").set_index("method")
    assert table["n"].to_dict() == {"Finetune": 2, "Replay": 0}
    assert not table["best"].any()


@pytest.fixture
def open_world(tmp_path: Path) -> Path:
    """CPL with two seeds and ORCA, which puts all images of 'wild' in one head, with one."""
    whole = [{**heads, "wild": {5: 12}} for heads in HEADS]
    for name, method, seed, heads in (("a", "CPL", 0, HEADS), ("b", "CPL", 1, HEADS), ("c", "ORCA", 0, whole)):
        run = write_open_world_run(tmp_path / "runs" / name, heads)
        (run / "config.yaml").write_text(f"seed_everything: {seed}\nmodel:\n  class_path: methods.{method}\n")
        finish_run(run)
    return tmp_path / "runs"


def test_attribution_has_a_table_of_all_images_and_one_of_each_source(
    open_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(open_world, "--out", tmp_path / "out", "--draws", 0) == 0
    printed = capsys.readouterr().out
    titles = [line.strip() for line in printed.splitlines() if line.startswith("Attribution") and ":" not in line]
    assert titles == ["Attribution", "Attribution inside faces", "Attribution inside film"]
    assert "Attribution, after the last task: 'known' is the share" in printed
    scores = evaluate_run(open_world / "c", num_draws=1)["open_world"]["rows"][-1]["scores"]
    keys = ("known_acc", "novel_acc", "novel_acc_v2", "novel_acc_strict", "all_acc", "all_nmi", "auroc")
    text = (tmp_path / "out/comparison.md").read_text()
    part = text[text.index("Attribution:") : text.index("Attribution inside faces:")]
    assert (
        "| method | n | known acc | novel OW-DFA | novel v2 | novel strict | all acc | all NMI | novel AUROC |" in part
    )
    cells = next(line for line in part.splitlines() if line.startswith("| ORCA")).replace("*", "").split(" | ")
    assert cells[2 : 2 + len(keys)] == [number(scores[key]) for key in keys]
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    inside = table[(table["source"] == "film") & (table["quantity"] == "novel_acc_v2")].set_index("method")
    assert inside["n"].to_dict() == {"CPL": 2, "ORCA": 1}
    assert inside.loc["ORCA", "mean"] > inside.loc["CPL", "mean"]
    assert inside["best"].to_dict() == {"CPL": 0, "ORCA": 1}
    assert f"**{number(inside.loc['ORCA', 'mean'])}**" in text[text.index("Attribution inside film:") :]


def test_attribution_inside_one_source_is_that_of_its_images_alone(
    open_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(open_world, "--out", tmp_path / "out", "--draws", 0, "--source", "film") == 0
    printed = capsys.readouterr().out
    assert "Attribution inside film" in printed
    assert "Attribution inside faces" not in printed
    assert compare(open_world, "--out", tmp_path / "none", "--source", "ffhq") == 2
    assert (
        "--source 'ffhq': no run has scores of attribution inside it. Use one of faces, film."
        in capsys.readouterr().err
    )
    assert not (tmp_path / "none").exists()


def test_streams_without_unnamed_classes_have_no_table_of_attribution(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 0) == 0
    assert "Attribution" not in capsys.readouterr().out + (tmp_path / "out/comparison.md").read_text()
    assert compare(two_methods, "--out", tmp_path / "none", "--source", "faces") == 2
    assert "no run has scores of attribution inside a source. Leave it out." in capsys.readouterr().err


def test_difference_is_that_of_the_averages_and_says_whether_it_is_real(two_methods: Path, tmp_path: Path) -> None:
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 200) == 0
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    average = table[table["quantity"] == "average_auc"].set_index("method")["mean"]
    one = pd.read_csv(tmp_path / "out/differences.csv").iloc[0]
    assert (one["baseline"], one["method"]) == ("Replay", "Finetune")
    assert one["difference"] == pytest.approx(average["Finetune"] - average["Replay"])
    assert one["low"] < one["difference"] < one["high"] < 0
    assert one["p"] == pytest.approx(2 / 201)
    # three tasks of 15 test people each
    assert one["groups"] == 45
    assert compare(two_methods, "--out", tmp_path / "back", "--draws", 200, "--baseline", "Finetune") == 0
    back = pd.read_csv(tmp_path / "back/differences.csv").iloc[0]
    assert (back["baseline"], back["method"]) == ("Finetune", "Replay")
    assert back["difference"] == pytest.approx(-one["difference"])


def test_methods_with_other_seeds_are_named_beside_the_bootstrap(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 10) == 0
    sentence = "Finetune and Replay have other seeds, whose difference is part of theirs."
    assert sentence in " ".join(capsys.readouterr().out.split())
    notes = (
        (tmp_path / "out/comparison.md").read_text().partition("## Notes\n")[2].partition("## What the numbers are")[0]
    )
    assert sentence in notes
    shutil.rmtree(two_methods / "replay_2")
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 10) == 0
    assert "have other seeds" not in capsys.readouterr().out


def test_methods_with_equal_predictions_do_not_differ(write_run: WriteRun, tmp_path: Path) -> None:
    for method in ("LwF", "EWC"):
        finish_run(write_run(f"runs/{method}", method=method, seed=0))
    assert compare(tmp_path / "runs", "--out", tmp_path / "out", "--draws", 50) == 0
    one = pd.read_csv(tmp_path / "out/differences.csv").iloc[0]
    assert (one["difference"], one["low"], one["high"], one["p"]) == (0, 0, 0, 1)
    table = pd.read_csv(tmp_path / "out/comparison.csv")
    assert (table["best"] == 1).all()
    assert table["sd"].isna().all()


def test_unfinished_runs_are_counted_named_and_left_out(
    two_methods: Path, write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("runs/replay_3", method="Replay", seed=3, rows=2)
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 0) == 0
    printed = capsys.readouterr().out
    assert "Left out 1 of 6 runs, not finished:" in printed
    assert "replay_3:1of3tasksarepredicted" in "".join(printed.split())  # lines may break anywhere in the path
    assert "replay_3" in (tmp_path / "out/comparison.md").read_text()
    assert next(line for line in printed.splitlines() if line.startswith("Replay")).split()[1] == "3"
    assert compare(two_methods / "replay_3", "--out", tmp_path / "none") == 2
    error = capsys.readouterr().err
    assert "No run is finished, so there is nothing to compare. Left out 1 of 1 runs" in error
    assert not (tmp_path / "none").exists()


def test_rows_alone_make_the_same_tables_without_the_bootstrap(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 50) == 0
    capsys.readouterr()
    shutil.move(tmp_path / "out/runs.csv", tmp_path / "kept.csv")
    shutil.rmtree(two_methods)
    assert compare(tmp_path / "kept.csv", "--out", tmp_path / "later") == 0
    assert "No bootstrap on 'toy': it needs the run folders of all seeds" in capsys.readouterr().out
    assert (tmp_path / "later/comparison.csv").read_text() == (tmp_path / "out/comparison.csv").read_text()
    assert (tmp_path / "later/runs.csv").read_text() == (tmp_path / "kept.csv").read_text()
    assert len(pd.read_csv(tmp_path / "later/differences.csv")) == 0


def test_methods_can_stand_in_order_of_a_column(two_methods: Path, tmp_path: Path) -> None:
    orders = {}
    for column in ("average_auc", "train_flops"):
        assert compare(two_methods, "--out", tmp_path / column, "--draws", 0, "--sort", column) == 0
        table = pd.read_csv(tmp_path / column / "runs.csv").groupby("method")[column].mean()
        lines = (tmp_path / column / "comparison.md").read_text().splitlines()
        orders[column] = [name for line in lines for name in table.index if line.startswith(f"| {name} |")][
            : len(table)
        ]
        assert orders[column] == table.sort_values(ascending=column == "train_flops").index.tolist()
    assert orders["average_auc"] != orders["train_flops"]


def test_row_of_a_folder_that_is_named_too_counts_once_and_names_the_method(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [run_summary(run) for run in sorted(two_methods.iterdir())]
    lines = [{**row, "method": f"{row['method']} (ours)"} for row in rows]
    pd.DataFrame(lines[:5]).to_csv(tmp_path / "rows.csv", index=False)
    assert compare(two_methods, tmp_path / "rows.csv", "--out", tmp_path / "out", "--draws", 20) == 0
    assert "5 of 10 rows stand there twice, and count once." in capsys.readouterr().out
    assert {row["method"] for row in read_summaries(tmp_path / "out/runs.csv")} == {"Finetune (ours)", "Replay (ours)"}
    assert pd.read_csv(tmp_path / "out/differences.csv")["baseline"].tolist() == ["Replay (ours)"]


def test_method_without_its_folders_is_left_out_of_the_bootstrap_only(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best: Row = {**run_summary(two_methods / "replay_0"), "method": "Brick", "average_auc": 0.999, "train_flops": 1.0}
    pd.DataFrame([best]).to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out"
    assert compare(two_methods, tmp_path / "rows.csv", "--out", out, "--draws", 20, "--baseline", "Brick") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "No bootstrap on 'toy' for Brick: it needs the run folders of all seeds" in printed
    assert "On 'toy' Brick cannot be the baseline; it is Replay." in printed
    assert pd.read_csv(out / "differences.csv")["method"].tolist() == ["Finetune"]


def test_bootstrap_needs_the_folders_of_all_seeds(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone: Row = {**run_summary(two_methods / "replay_0"), "seed": 9}
    pd.DataFrame([gone]).to_csv(tmp_path / "rows.csv", index=False)
    assert compare(two_methods, tmp_path / "rows.csv", "--out", tmp_path / "out", "--draws", 20) == 0
    printed = capsys.readouterr().out
    assert next(line for line in printed.splitlines() if line.startswith("Replay")).split()[1] == "4"
    assert "No bootstrap on 'toy' for Replay: it needs the run folders of all seeds" in " ".join(printed.split())
    assert len(pd.read_csv(tmp_path / "out/differences.csv")) == 0


def test_runs_on_other_streams_are_never_mixed(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = two_methods / "replay_2"
    stream = (moved / "stream.json").read_text()
    (moved / "stream.json").write_text(re.sub(r'"hash": "\w+"', '"hash": "0123456789"', stream))
    assert compare(two_methods, "--out", tmp_path / "out", "--draws", 20) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"is not compared with 'toy \(\w{8}\)': it has the same tasks of other images", printed)
    counts = pd.read_csv(tmp_path / "out/comparison.csv").query("quantity == 'bwt'")
    assert sorted(zip(counts["method"], counts["n"], strict=True)) == [("Finetune", 2), ("Replay", 1), ("Replay", 2)]


def test_memory_that_is_partly_gone_is_said(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = {"sample": [0, 1], "label": [0, 1], "method": [0, 1], "task": [0, 0]}
    for seed in range(2):
        root = tmp_path / f"images{seed}"
        run = finish_run(write_run(f"runs/{seed}", seed=seed, root=root), memory=memory)
        for path in pd.read_parquet(run / "frames.parquet")["path"][: 2 - seed]:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"x" * 1500)
    assert compare(tmp_path / "runs", "--out", tmp_path / "out") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Memory of Finetune on 'toy': the files are there for 1 of 2 runs." in printed
    assert " 2 3.00 " in printed


def test_wrong_arguments_are_one_sentence(
    two_methods: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, problem in (
        (
            [two_methods, "--baseline", "Brick"],
            "--baseline 'Brick' is not among the methods. Use one of Finetune, Replay.",
        ),
        ([two_methods, "--draws", "-1"], "--draws -1 is negative."),
        ([two_methods, "--sort", "auc"], "--sort 'auc' is not known. Use one of average_auc,"),
        ([tmp_path / "absent"], "is not a folder"),
        ([tmp_path / "absent.csv"], "absent.csv: cannot be read"),
    ):
        assert compare(*arguments, "--out", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def ten_tasks(methods: int = 12) -> list[Row]:
    """Rows of a long stream whose methods have long names and large costs."""
    generator = np.random.default_rng(0)
    rows = []
    for method in range(methods):
        for seed in range(3):
            final = generator.uniform(0.5, 1, size=10)
            row: Row = {
                **dict.fromkeys(COLUMNS),
                "stream": "ten",
                "method": f"SUR-LID without isolation and refilling, number {method}",
                "seed": seed,
                "average_auc": float(final.mean()),
                "forgetting": float(generator.uniform()),
                "bwt": -float(generator.uniform()),
                "fwt": None,
                "average_incremental": 0.8,
                "plasticity": 0.9,
                "tasks": "|".join(f"transposed_random_decoder_{task}" for task in range(10)),
                "final_auc": "|".join(f"{value:.6f}" for value in final),
                "memory_images": 500 * method,
                "memory_bytes": int(1e8 * method),
                "train_flops": float(1e17 * generator.uniform()),
                "train_seconds": float(1e5 * generator.uniform()),
                "stream_hash": "0123456789",
                "recipe": str(method),
                "run": "run",
                "commit": "",
                "versions": "",
            }
            rows.append(row)
    return rows


def render(tables: list[Table], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for table in tables:
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_tables_fit_the_terminal_without_losing_a_letter(width: int) -> None:
    rows = ten_tasks()
    (comparison,) = compare_rows(rows, [""] * len(rows))
    lines = render(comparison_tables(comparison, width), width)
    assert max(map(len, lines)) <= width
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    shown = [word for line in lines for word in line.split() if "±" in word]
    # every cell once, whole: ten tasks, three scores, FLOPs and seconds of twelve methods
    assert len(shown) == 12 * (10 + 3 + 2)
    assert all(re.fullmatch(r"-?[\d.]+±[\d.]+", word) for word in shown)
    spread = comparison.methods[0].spread(comparison.quantities[0])
    assert spread.mean is not None
    assert f"{spread.mean:.3f}".lstrip("0") in lines[3]


def test_best_cells_are_bold_in_the_terminal_and_in_markdown() -> None:
    rows = ten_tasks(methods=2)
    (comparison,) = compare_rows(rows, [""] * len(rows))
    console = Console(file=io.StringIO(), width=100, color_system="standard", force_terminal=True)
    for table in comparison_tables(comparison, 100):
        console.print(table)
    assert isinstance(console.file, io.StringIO)
    bold = re.findall(r"\x1b\[1m *([-.\d][^\x1b ]*±[^\x1b ]*)\x1b\[0m", console.file.getvalue())
    marked = re.findall(r"\*\*([^*]+)\*\*", markdown(comparison, None))
    best = sum(sum(comparison.best(quantity)) for quantity in comparison.quantities)
    assert sorted(bold) == sorted(cell.replace(" ", "") for cell in marked if "±" in cell)
    # fwt, average_incremental and plasticity are not in the tables: none, two and two ties
    assert len(marked) == best - 4
