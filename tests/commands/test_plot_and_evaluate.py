from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from continual_df import cli
from continual_df.commands import evaluate, plot
from continual_df.commands.run_folders import find_runs, group_runs, run_names
from continual_df.errors import RunFolderError
from continual_df.evaluation.results import load_results
from tests.runs import WriteRun

FIGURES = {
    f"{stem}_auc.{ending}"
    for stem in ("forgetting_curves", "average_curve", "matrix_heatmap")
    for ending in ("png", "svg")
}


def write_images(run: Path, root: Path) -> None:
    for path in pd.read_parquet(run / "frames.parquet")["path"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 99, dtype=np.uint8)).save(root / path)


def test_evaluate_recomputes_the_results_and_prints_the_table(
    write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("run")
    assert evaluate.main([str(run)]) == 0
    printed = capsys.readouterr().out
    stored = (run / "results.json").read_text()
    average = json.loads(stored)["summary"]["auc"]["average"]
    assert f"{average:.3f}".lstrip("0") in printed
    assert str(run / "results.json") in printed
    (run / "results.json").write_text("{}")
    assert evaluate.main([str(run)]) == 0
    assert (run / "results.json").read_text() == stored


@pytest.mark.parametrize("command", ["evaluate", "plot"])
def test_folder_without_a_run_is_one_sentence_and_status_two(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, problem in ((tmp_path, "is no run folder and holds none"), (tmp_path / "absent", "is not a folder")):
        assert cli.main([command, str(folder)]) == 2
        error = capsys.readouterr().err
        assert problem in error
        assert str(folder) in error
        assert "Traceback" not in error
        assert error.count("\n") == 1


def test_plot_draws_one_run_with_a_contact_sheet(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("run", root=tmp_path / "images")
    write_images(run, tmp_path / "images")
    assert plot.main([str(run)]) == 0
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn == FIGURES | {"contact_sheet.png", "contact_sheet.svg"}
    printed = capsys.readouterr().out
    for name in drawn:
        assert str(run / "figures" / name) in printed
    assert "average" in printed
    assert "forgetting" in printed


def test_plot_finds_the_images_beside_a_run_that_was_moved(write_run: WriteRun, tmp_path: Path) -> None:
    run = write_run("run", root=tmp_path / "run")
    write_images(run, run)
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    shutil.move(run, moved)
    assert plot.main([str(moved)]) == 0
    assert (moved / "figures" / "contact_sheet.png").is_file()


def test_plot_says_that_images_are_gone_and_draws_the_rest(
    write_run: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run("run")
    assert plot.main([str(run)]) == 0
    assert f"No contact sheet of {run}: an image cannot be read" in capsys.readouterr().out
    assert {path.name for path in (run / "figures").iterdir()} == FIGURES
    assert plot.main([str(run), "--no-images"]) == 0
    assert "No contact sheet" not in capsys.readouterr().out


def test_plot_of_a_folder_of_two_methods_with_two_seeds(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method, fade in (("Finetune", 0.9), ("Replay", 0.1)):
        for seed in (0, 1):
            write_run(f"sweep/{method}{seed}", method=method, seed=seed, fade=fade)
    assert plot.main([str(tmp_path / "sweep"), "--no-images", "--metric", "eer"]) == 0
    assert (tmp_path / "sweep" / "figures" / "average_curve_eer.svg").is_file()
    printed = capsys.readouterr().out
    for name in ("Finetune0", "Finetune1", "Replay0", "Replay1"):
        assert name in printed
    # the figures' folder is no run: drawing again finds the same four
    assert len(find_runs([tmp_path / "sweep"])) == 4


def test_plot_needs_out_for_several_folders(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write_run("one")), str(write_run("two", seed=1))]
    assert cli.main(["plot", *runs]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert cli.main(["plot", *runs, "--no-images", "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FIGURES


def test_plot_names_the_metrics_that_exist(write_run: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plot", str(write_run("run")), "--metric", "aucc"]) == 2
    assert "--metric 'aucc' is not known. Use one of auc, ap, eer" in capsys.readouterr().err


def test_plot_leaves_out_a_run_that_has_just_begun(
    write_run: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run("sweep/finished")
    begun = write_run("sweep/begun", seed=1, rows=0)
    assert plot.main([str(tmp_path / "sweep"), "--no-images"]) == 0
    assert f"Left out {begun}: it has no predictions yet." in capsys.readouterr().out
    assert cli.main(["plot", str(begun)]) == 2


def test_plot_evaluates_anew_where_results_are_older_than_predictions(write_run: WriteRun) -> None:
    run = write_run("run", rows=3)
    assert evaluate.main([str(run)]) == 0
    longer = write_run("longer")
    shutil.copy(longer / "predictions" / "task_3.parquet", run / "predictions")
    assert load_results(run)["measured"] == [0, 1, 2, 3]
    stored = json.loads((run / "results.json").read_text())
    assert stored["measured"] == [0, 1, 2]  # drawing writes nothing but figures


def test_runs_are_averaged_only_where_they_differ_in_their_seed(write_run: WriteRun) -> None:
    runs = [
        write_run("a0", method="Replay", seed=0, init_args="{memory: {init_args: {seed: 0}}}"),
        write_run("a1", method="Replay", seed=1, init_args="{memory: {init_args: {seed: 1}}}"),
        write_run("b0", method="Replay", seed=0, init_args="{capacity: 500}"),
        write_run("c0", method="Finetune", seed=0),
        write_run("c0_again", method="Finetune", seed=0),
    ]
    groups = group_runs({run: load_results(run) for run in runs})
    assert [(group.name, len(group.results)) for group in groups] == [
        ("Replay (a0)", 2),
        ("Replay (b0)", 1),
        ("Finetune (c0)", 1),
        ("Finetune (c0_again)", 1),
    ]


def test_stream_without_a_name_is_called_by_its_first_and_last_task(write_run: WriteRun) -> None:
    run = write_run("run")
    stream = json.loads((run / "stream.json").read_text())
    del stream["name"]
    (run / "stream.json").write_text(json.dumps(stream))
    assert [group.stream for group in group_runs({run: load_results(run)})] == ["swap to paint"]


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    runs = [tmp_path / "date" / "replay", tmp_path / "reversed" / "replay", tmp_path / "date" / "joint"]
    assert list(run_names(runs).values()) == [str(Path("date/replay")), str(Path("reversed/replay")), "joint"]


def test_broken_results_name_the_command_that_mends_them(write_run: WriteRun) -> None:
    run = write_run("run")
    (run / "results.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"results\.json: not JSON .* Run 'continual-df evaluate"):
        load_results(run)
