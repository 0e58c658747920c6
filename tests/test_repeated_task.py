"""A stream may visit a task twice: everything is told apart by the event, nothing by the name."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim import Adam

from continual_df.commands.figures import draw_figures
from continual_df.data.frame_table import FrameTable
from continual_df.data.stream import TaskSpec, build_stream
from continual_df.evaluation.results import evaluate_run, load_results
from continual_df.evaluation.run_summary import run_summary
from continual_df.memory import ReplayMemory
from continual_df.methods import Replay
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run

NAMES = ["columns", "smooth", "columns (2)"]


@pytest.fixture(scope="module")
def visited(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over stripes, taken texture, and the same stripes again."""
    path = tmp_path_factory.mktemp("runs") / "visited"
    stream = build_stream(toy_table, [TaskSpec(["columns"]), TaskSpec(["smooth"]), TaskSpec(["columns"])])
    torch.manual_seed(0)
    method = Replay(ReplayMemory(8), detector=TinyDetector(), optimizer=functools.partial(Adam, lr=3e-2), batch_size=16)
    run(method, ToyData(stream), path, epochs=2)
    return path


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_visit_is_an_event_of_its_own(visited: Path) -> None:
    tasks = content(visited / "stream.json")["tasks"]
    assert [(task["index"], task["name"], task["methods"]) for task in tasks] == [
        (0, "columns", ["columns"]),
        (1, "smooth", ["smooth"]),
        (2, "columns (2)", ["columns"]),
    ]
    assert tasks[0]["counts"] == tasks[2]["counts"]
    results = content(visited / "results.json")
    assert [task["name"] for task in results["tasks"]] == NAMES
    assert results["measured"] == [0, 1, 2, 3]
    assert [entry["task"] for entry in content(visited / "compute.json")["tasks"]] == [0, 1, 2, 3]
    assert {path.name for path in (visited / "tasks").iterdir()} == {"1", "2", "3"}
    assert set(pd.read_csv(visited / "metrics.csv")["task"]) == {1, 2, 3}


def test_the_second_visit_overwrites_nothing_of_the_first(visited: Path) -> None:
    results = content(visited / "results.json")
    auc = np.array(results["matrices"]["auc"], dtype=float)
    assert np.isfinite(auc).all()
    np.testing.assert_array_equal(auc[:, 0], auc[:, 2])  # the same test images
    logits = [pd.read_parquet(visited / f"predictions/task_{number}.parquet")["logit_fake"] for number in range(4)]
    assert not np.allclose(logits[1].to_numpy()[-10:], logits[3].to_numpy()[-10:])  # each visit left its own
    assert results["summary"]["auc"]["plasticity"] == pytest.approx(np.mean([auc[1, 0], auc[2, 1], auc[3, 2]]))
    assert len(results["intervals"]["auc"]["tasks"]) == 3
    assert evaluate_run(visited) == results


def test_a_remembered_image_that_returns_keeps_its_first_membership(visited: Path) -> None:
    memory = [pd.read_parquet(visited / f"tasks/{number}/memory.parquet") for number in (1, 2, 3)]
    assert [len(table) for table in memory] == [8, 8, 8]
    pd.testing.assert_frame_equal(memory[2], memory[1])
    assert set(memory[2]["task"]) == {0, 1}


def test_figures_and_rows_of_comparisons_name_each_visit(visited: Path, tmp_path: Path) -> None:
    paths, problems = draw_figures({visited: load_results(visited)}, tmp_path, images=False)
    assert problems == []
    (curves,) = [path for path in paths if path.name == "forgetting_curves_auc.svg"]
    for name in NAMES:
        assert name in curves.read_text()
    (visited / "config.yaml").write_text("seed_everything: 0\nmodel: {class_path: methods.Replay}\n")
    row = run_summary(visited)
    assert str(row["tasks"]).split("|") == NAMES
    assert len(str(row["final_auc"]).split("|")) == 3
