from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim import Adam

from continual_df.data.frame_table import read_table
from continual_df.data.stream import Stream
from continual_df.evaluation.run_summary import memory_size
from continual_df.memory import ReplayMemory, select_class_balanced
from continual_df.methods import Finetune, Joint, Method, Replay
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run

OPTIMIZER = functools.partial(Adam, lr=3e-2)


def tiny(kind: str) -> Method:
    torch.manual_seed(0)
    if kind == "finetune":
        return Finetune(TinyDetector(), OPTIMIZER, batch_size=16)
    if kind == "joint":
        return Joint(detector=TinyDetector(), optimizer=OPTIMIZER, batch_size=16)
    return Replay(
        ReplayMemory(24, rule=select_class_balanced), detector=TinyDetector(), optimizer=OPTIMIZER, batch_size=16
    )


@pytest.fixture(scope="module")
def runs(toy_stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("finetune", "replay", "joint"):
        run(tiny(kind), ToyData(toy_stream), folder / kind)
    return {kind: folder / kind for kind in ("finetune", "replay", "joint")}


def results(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "results.json").read_text())
    return content


def test_every_method_learns_each_task(runs: dict[str, Path]) -> None:
    for path in runs.values():
        matrix = np.array(results(path)["matrices"]["auc"], dtype=float)
        assert matrix.shape == (4, 3)
        assert np.diag(matrix[1:]).min() > 0.9, path


def test_finetune_forgets_replay_forgets_less_and_joint_does_not(runs: dict[str, Path]) -> None:
    lost = {kind: results(path)["summary"]["auc"]["forgetting"] for kind, path in runs.items()}
    assert lost["finetune"] > lost["replay"] + 0.03
    assert lost["joint"] < 0.05


def test_a_run_leaves_the_files_of_the_contract(runs: dict[str, Path], toy_stream: Stream) -> None:
    path = runs["replay"]
    names = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    tasks = [f"tasks/{k}/{name}" for k in (1, 2, 3) for name in ("checkpoint.ckpt", "memory.parquet")]
    predictions = [f"predictions/task_{k}.parquet" for k in range(4)]
    fixed = ["config.yaml", "stream.json", "frames.parquet", "membership.parquet", "metrics.csv"]
    assert names == {*tasks, *predictions, *fixed, "results.json", "compute.json"}
    metrics = pd.read_csv(path / "metrics.csv")
    assert set(metrics["task"]) == {1, 2, 3}
    assert {"train/loss", "val/auc"} <= set(metrics["metric"])


def test_what_is_stored_after_each_task_is_that_of_its_files(runs: dict[str, Path]) -> None:
    path = runs["replay"]
    stored = [task["stored_bytes"] for task in json.loads((path / "compute.json").read_text())["tasks"][1:]]
    checkpoints = [(path / "tasks" / str(task) / "checkpoint.ckpt").stat().st_size for task in (1, 2, 3)]
    assert [entry["checkpoint"] for entry in stored] == checkpoints
    assert [entry["memory"] for entry in stored] == [memory_size(path, task)[1] for task in (1, 2, 3)]
    assert min(entry["memory"] for entry in stored) > 0


def test_flops_are_logged_as_they_are_spent(runs: dict[str, Path]) -> None:
    log = pd.read_csv(runs["finetune"] / "metrics.csv").query("metric == 'compute/flops'")
    tasks = json.loads((runs["finetune"] / "compute.json").read_text())["tasks"][1:]
    spent = np.cumsum([task["phases"]["train"]["flops"] for task in tasks])  # the last validation follows the last step
    np.testing.assert_allclose(log.groupby("task")["value"].last(), spent, rtol=1e-6)
    assert log["value"].is_monotonic_increasing


def test_predictions_hold_all_test_sets_and_validation_of_the_tasks_so_far(
    runs: dict[str, Path], toy_stream: Stream
) -> None:
    split = toy_stream.table.frame["split"]
    for number in range(4):
        frame = pd.read_parquet(runs["finetune"] / f"predictions/task_{number}.parquet")
        assert frame["sample"].is_unique
        assert frame["logit_fake"].dtype == np.float32
        counts = split.loc[frame["sample"]].value_counts()
        assert counts["test"] == 4 * 16
        assert counts.get("val", 0) == (8 + 8 * number if number else 0)


def test_a_checkpoint_gives_the_same_predictions_again(runs: dict[str, Path], toy_stream: Stream) -> None:
    method = tiny("replay")
    checkpoint = torch.load(runs["replay"] / "tasks/3/checkpoint.ckpt", weights_only=True)
    method.load_state_dict(checkpoint["state_dict"])
    data = ToyData(toy_stream)
    frame = pd.read_parquet(runs["replay"] / "predictions/task_3.parquet").set_index("sample")["logit_fake"]
    rows = data.stream.rows(2, "test")
    (batch,) = list(data.rows_dataloader(rows))
    logit = method.eval()(batch["image"]).fake_logit.detach().numpy()
    np.testing.assert_allclose(logit, frame.loc[rows.sample.numpy()], atol=1e-5)


def test_memory_is_balanced_and_comes_from_the_tasks_so_far(runs: dict[str, Path]) -> None:
    for number in (1, 2, 3):
        memory = pd.read_parquet(runs["replay"] / f"tasks/{number}/memory.parquet")
        assert len(memory) == 24
        assert memory["task"].max() == number - 1


def test_costs_are_recorded_for_every_task_and_phase(runs: dict[str, Path]) -> None:
    compute = json.loads((runs["replay"] / "compute.json").read_text())
    phases = {entry["task"]: set(entry["phases"]) for entry in compute["tasks"]}
    assert phases[0] == {"predict"}
    assert {"train", "validate", "predict", "selection"} <= phases[1]
    assert "replay" in phases[2]
    assert "replay" not in phases[1]


def test_the_best_validation_checkpoint_is_loaded_where_one_is_kept(toy_stream: Stream, tmp_path: Path) -> None:
    def callbacks() -> list[pl.Callback]:
        return [ModelCheckpoint(tmp_path / "best", monitor="val/loss", mode="min", filename="{epoch}")]

    class Spoiled(Finetune):
        """Ruins its weights after the third epoch."""

        def on_train_epoch_start(self) -> None:
            if self.current_epoch >= 3:
                torch.nn.init.constant_(self.head.bias, 1e4)

    method = Spoiled(TinyDetector(), OPTIMIZER, batch_size=16)
    run(method, ToyData(toy_stream), tmp_path / "run", 5, callbacks)
    assert abs(method.head.bias.item()) < 100


def test_callbacks_of_one_task_do_not_stop_the_next(toy_stream: Stream, tmp_path: Path) -> None:
    def callbacks() -> list[pl.Callback]:
        return [EarlyStopping("val/loss", patience=20)]

    _, trainers = run(tiny("finetune"), ToyData(toy_stream), tmp_path / "run", 4, callbacks)
    assert [trainer.current_epoch for trainer in trainers] == [0, 4, 4, 4]


def test_gradient_accumulation_and_bf16_go_through(toy_stream: Stream, tmp_path: Path) -> None:
    options = {"precision": "bf16-mixed", "accumulate_grad_batches": 2}
    results, trainers = run(tiny("replay"), ToyData(toy_stream), tmp_path / "run", 2, **options)
    assert np.isfinite(np.array(results["matrices"]["auc"], dtype=float)).all()
    assert trainers[1].global_step == 2 * 2  # 3 batches, two optimizer steps an epoch


def test_a_method_that_cannot_predict_gives_null(toy_stream: Stream, tmp_path: Path) -> None:
    class Mute(Finetune):
        """Says nothing before it has been trained."""

        def predict_step(self, batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
            out = super().predict_step(batch, batch_idx)
            return out if self.head.bias.item() != 0 else {"sample": out["sample"]}

    method = Mute(TinyDetector(), OPTIMIZER)
    torch.nn.init.zeros_(method.head.bias)
    results, _ = run(method, ToyData(toy_stream), tmp_path / "run", 1)
    assert results["matrices"]["auc"][0] == [None, None, None]
    assert None not in results["matrices"]["auc"][1]


def test_predictions_that_the_trainer_leaves_out_are_null(toy_stream: Stream, tmp_path: Path) -> None:
    data = ToyData(toy_stream)
    data.eval_batch_size = 8
    run(tiny("finetune"), data, tmp_path / "run", 1, limit_predict_batches=2)
    frame = pd.read_parquet(tmp_path / "run/predictions/task_1.parquet")
    assert frame["logit_fake"].notna().sum() == 16
    assert len(frame) > 16


def test_the_table_of_a_run_can_be_read_again(runs: dict[str, Path], toy_stream: Stream) -> None:
    table = read_table(runs["finetune"] / "frames.parquet")
    assert table.root == toy_stream.table.root
    assert table.frame["path"].tolist() == toy_stream.table.frame["path"].tolist()
