from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
import yaml

from continual_df.cli import main
from continual_df.data.frame_table import FrameTable, read_table, write_table
from continual_df.evaluation.recipe import read_recipe
from tests.toy import TinyDetector


class Result(NamedTuple):
    status: int
    out: str
    err: str


class Runner:
    """Runs ``continual-df run`` on a configuration in ``folder``, changed by dotted keys."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], config: dict[str, Any]) -> None:
        self.folder, self.capsys, self.config = folder, capsys, config
        self.run_dir = folder / "run"

    def set(self, key: str, value: object) -> None:
        *parents, last = key.split(".")
        node = self.config
        for name in parents:
            node = node[name]
        node[last] = value

    def __call__(self, *flags: str) -> Result:
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))
        self.capsys.readouterr()
        status = main(["run", "--config", str(path), *flags])
        return Result(status, *self.capsys.readouterr())

    def refused(self, *flags: str) -> str:
        """Return the one sentence on stderr of a run that is refused before it begins."""
        result = self(*flags)
        lines = [line for line in result.err.splitlines() if not line.startswith("Seed set")]
        assert result.status == 2, result.out
        assert len(lines) == 1, lines
        assert lines[0].startswith("continual-df run: ")
        assert not self.run_dir.exists()
        return lines[0]


@pytest.fixture
def runner(toy_table: FrameTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runner:
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train[0-7]|val[0-3]|test[0-3]")]
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), tmp_path / "t.parquet")
    config: dict[str, Any] = {
        "seed_everything": 3,
        "run_dir": str(tmp_path / "run"),
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "class_path": "Replay",
            "init_args": {
                "detector": {"class_path": "tests.toy.TinyDetector"},
                "memory": {"class_path": "ReplayMemory", "init_args": {"capacity": 4, "seed": "${seed_everything}"}},
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}},
                "batch_size": 8,
                "replay_per_batch": 4,
            },
        },
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(tmp_path / "t.parquet")}}],
                "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
                "augment": [],
            },
        },
    }
    return Runner(tmp_path, capsys, config)


def edit_table(runner: Runner, drop: str) -> None:
    """Remove the rows of the table for which the query ``drop`` is true."""
    path = runner.folder / "t.parquet"
    frame = pd.read_parquet(path)
    frame = frame.drop(index=frame.query(drop).index).reset_index(drop=True)
    root = read_table(path).root
    write_table(FrameTable(frame, root), path)


def test_an_unknown_method_in_the_order_is_refused_with_the_nearest(runner: Runner) -> None:
    runner.set("data.init_args.tasks", [{"methods": ["column"]}])
    assert "Unknown method 'column' in task 1 of the stream: did you mean 'columns'?" in runner.refused()


def test_an_empty_split_is_refused(runner: Runner) -> None:
    edit_table(runner, "split == 'train' and method == 'smooth'")
    assert "Task 2 ('smooth') has no fakes in split 'train'" in runner.refused()


def test_missing_data_is_refused(runner: Runner) -> None:
    runner.set("data.init_args.tables", [{"class_path": "TableFile", "init_args": {"path": "nowhere.csv"}}])
    assert "was not found at 'nowhere.csv'" in runner.refused()


def test_a_broken_image_above_the_share_is_refused(runner: Runner, tmp_path: Path) -> None:
    table = read_table(runner.folder / "t.parquet")
    (tmp_path / "broken.png").write_bytes(b"")
    root = Path(os.path.commonpath([table.root, tmp_path]))
    frame = table.frame.assign(path=[str((table.root / path).relative_to(root)) for path in table.frame["path"]])
    frame.loc[5, "path"] = str((tmp_path / "broken.png").relative_to(root))
    write_table(FrameTable(frame, root), runner.folder / "t.parquet")
    message = runner.refused()
    assert "1 of 64 images are unreadable" in message
    assert "broken.png" in message
    result = runner("--data.max_unreadable=0.02")
    assert result.status == 0
    assert "left out: 1 x unreadable image" in result.out
    assert json.loads((runner.run_dir / "stream.json").read_text())["skipped"] == {"unreadable image": 1}


def test_a_device_that_is_not_there_is_refused_and_leaves_no_folder(runner: Runner) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    assert "No supported gpu backend found" in runner.refused("--trainer.accelerator=gpu")


def test_images_that_no_detector_takes_leave_no_folder(runner: Runner) -> None:
    runner.set("data.init_args.channels", 1)
    with pytest.raises(RuntimeError, match="channels"):
        runner()
    assert not runner.run_dir.exists()


def test_a_run_folder_that_exists_is_refused_before_any_image_is_read(runner: Runner) -> None:
    runner.run_dir.mkdir()
    (runner.run_dir / "mine.txt").write_text("keep")
    runner.set("data.init_args.tasks", [{"methods": ["column"]}])
    result = runner()
    assert result.status == 2
    assert f"The run folder '{runner.run_dir}' exists already" in result.err
    assert [path.name for path in runner.run_dir.iterdir()] == ["mine.txt"]


def test_a_test_set_without_fakes_is_refused(runner: Runner) -> None:
    edit_table(runner, "split == 'test' and method == 'smooth'")
    assert "Task 2 ('smooth') has no fakes in split 'test'" in runner.refused()


def test_a_test_set_without_reals_gives_null_and_says_so_once(runner: Runner) -> None:
    edit_table(runner, "split == 'test' and method == 'real'")
    result = runner()
    assert result.status == 0, result.err
    auc = json.loads((runner.run_dir / "results.json").read_text())["matrices"]["auc"]
    assert auc == [[None, None]] * 3
    for task in ("columns", "smooth"):
        assert result.out.count(f"task '{task}': its test set has no reals") == 1


def test_a_loss_that_is_not_finite_stops_with_task_step_and_rows(runner: Runner) -> None:
    result = runner("--model.optimizer.lr=1e30", "--trainer.max_epochs=3")
    assert result.status == 2
    (line,) = [line for line in result.err.splitlines() if not line.startswith("Seed set")]
    assert "The loss is not finite in task 1 ('columns'), step " in line
    assert "sample rows [" in line
    written = {path.name for path in runner.run_dir.rglob("*") if path.is_file()}
    assert "task_0.parquet" in written  # what was committed stays
    assert not [name for name in written if "partial" in name or name.startswith("task_1")]
    assert not (runner.run_dir / "tasks").exists()


def test_print_config_shows_the_settings_and_writes_nothing(runner: Runner) -> None:
    with pytest.raises(SystemExit) as stop:
        runner("--print_config")
    shown = yaml.safe_load(runner.capsys.readouterr().out)
    assert stop.value.code == 0
    assert shown["trainer"]["max_epochs"] == 1
    assert shown["model"]["init_args"]["batch_size"] == 8
    assert not runner.run_dir.exists()


def test_name_of_the_method_is_in_the_recipe(runner: Runner) -> None:
    runner.set("name", "Replay of four")
    assert runner("--trainer.fast_dev_run=true").status == 0
    assert read_recipe(runner.run_dir).method == "Replay of four"


def test_configs_merge_in_order_and_interpolations_follow_the_command_line(runner: Runner) -> None:
    over = runner.folder / "over.yaml"
    over.write_text(yaml.safe_dump({"trainer": {"max_epochs": 2}, "model": {"init_args": {"batch_size": 16}}}))
    result = runner("--config", str(over), "--seed_everything=7", "--trainer.max_epochs=1")
    assert result.status == 0, result.err
    recipe = yaml.safe_load((runner.run_dir / "config.yaml").read_text())
    assert recipe["trainer"]["max_epochs"] == 1
    assert recipe["model"]["init_args"]["batch_size"] == 16
    assert recipe["model"]["init_args"]["replay_per_batch"] == 4
    assert recipe["model"]["init_args"]["memory"]["init_args"]["seed"] == 7
    assert recipe["seed_everything"] == 7


def test_the_recipe_of_a_run_runs_again_to_the_same_predictions(runner: Runner) -> None:
    assert runner().status == 0
    again = runner.folder / "again"
    assert main(["run", "--config", str(runner.run_dir / "config.yaml"), "--run_dir", str(again)]) == 0
    for name in ("task_0", "task_1", "task_2"):
        first, second = (pd.read_parquet(run / f"predictions/{name}.parquet") for run in (runner.run_dir, again))
        pd.testing.assert_frame_equal(first, second)


def test_another_method_on_the_command_line_leaves_out_what_it_does_not_know(runner: Runner) -> None:
    result = runner("--model", "Finetune")
    assert result.status == 0, result.err
    recipe = yaml.safe_load((runner.run_dir / "config.yaml").read_text())
    assert recipe["model"]["class_path"].endswith("Finetune")
    assert recipe["model"]["init_args"]["batch_size"] == 8
    assert "memory" not in recipe["model"]["init_args"]
    assert not (runner.run_dir / "tasks/1/memory.parquet").exists()


def test_a_logger_of_the_user_comes_beside_ours(runner: Runner) -> None:
    pytest.importorskip("tensorboard")
    result = runner("--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={runner.folder / 'tb'}")
    assert result.status == 0, result.err
    assert (runner.run_dir / "metrics.csv").exists()
    assert list((runner.folder / "tb").rglob("events.out.tfevents.*"))


def test_max_flops_ends_the_training_of_each_task(runner: Runner) -> None:
    assert runner("--trainer.max_epochs=3").status == 0
    path = runner.run_dir / "compute.json"
    steps = [entry["phases"]["train"]["steps"] for entry in json.loads(path.read_text())["tasks"][1:]]
    flops = json.loads(path.read_text())["tasks"][1]["phases"]["train"]["flops"]
    assert steps == [6, 6]
    assert runner("--trainer.max_epochs=3", f"--max_flops={flops / 2}", f"--run_dir={runner.folder / 'b'}").status == 0
    costs = json.loads((runner.folder / "b/compute.json").read_text())["tasks"][1:]
    assert costs[0]["phases"]["train"]["steps"] == 3
    assert costs[1]["phases"]["train"]["steps"] < 3  # replayed rows cost too


class EagerDetector(TinyDetector):
    """Compiles without a C++ compiler, in a second."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, backend="eager", **kwargs)


@pytest.mark.parametrize(
    "detector", [f"{__name__}.EagerDetector", pytest.param("tests.toy.TinyDetector", marks=pytest.mark.slow)]
)
def test_compiled_detectors_train(runner: Runner, detector: str) -> None:
    torch._dynamo.reset()
    compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    runner.set("data.init_args.tasks", [{"methods": ["columns"]}])
    runner.set("model.init_args.detector.class_path", detector)
    result = runner("--model=Finetune", "--model.compile=true")
    assert result.status == 0, result.err
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > compiled
    state = torch.load(runner.run_dir / "tasks/1/checkpoint.ckpt", weights_only=True)["state_dict"]
    assert "detector.filters.weight" in state  # the same keys as without
