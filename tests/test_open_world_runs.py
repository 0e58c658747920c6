"""Open-world methods through the whole loop."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from continual_df.data.frame_table import FrameTable
from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.evaluation.run_summary import memory_size
from continual_df.memory import ReplayMemory
from continual_df.methods import CPL, OpenWorldStream
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run

OPTIMIZER = functools.partial(torch.optim.Adam, lr=0.03)

USUAL: dict[str, Any] = {"novel": 2, "patches": 2, "dropout": 0.0, "batch_size": 12}


@pytest.fixture(scope="module")
def named_later(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    specs = [
        TaskSpec(["columns"], unlabelled=["rows"], name="first"),
        TaskSpec(["smooth"], unlabelled=["rows"], name="second"),
        TaskSpec(["rows"], name="third"),
    ]
    folder = tmp_path_factory.mktemp("named") / "run"
    torch.manual_seed(0)
    memories: dict[str, Any] = {name: ReplayMemory(16, per_task=True) for name in ("memory", "unknown")}
    method = OpenWorldStream(**memories, detector=TinyDetector(), optimizer=OPTIMIZER, **USUAL)
    run(method, ToyData(build_stream(toy_table, specs)), folder, 12)
    return folder


def test_a_method_without_a_name_is_discovered_named_and_remembered(named_later: Path) -> None:
    section = json.loads((named_later / "results.json").read_text())["open_world"]
    life = section["lives"]["rows"]
    assert life["states"]["3"] == "named"
    assert life["discovered"] in (1, 2)
    assert section["summary"]["match_rate"] == 1
    matches = json.loads((named_later / "tasks" / "3" / "matches.json").read_text())
    assert matches["rows"] == life["heads"]["2"]
    assert section["rows"][-1]["scores"]["known_acc"] > 0.8


def test_the_run_folder_says_what_both_memories_hold(named_later: Path) -> None:
    memory = pd.read_parquet(named_later / "tasks" / "3" / "memory.parquet")
    unknown = memory["memory"] == 1
    assert (memory.loc[~unknown, "method"] >= 0).all()
    assert (memory.loc[unknown, "method"] == -1).all()
    assert set(memory.loc[unknown, "task"]) == {0, 1}
    assert unknown.sum() > 0
    compute = json.loads((named_later / "compute.json").read_text())
    assert memory_size(named_later, 3) == (len(memory), compute["tasks"][-1]["stored_bytes"]["memory"])


def test_predictions_hold_heads_and_novelty(named_later: Path) -> None:
    columns = [list(pd.read_parquet(named_later / f"predictions/task_{number}.parquet").columns) for number in range(4)]
    assert [sum(name.startswith("logit_method_") for name in names) for names in columns] == [4, 4, 5, 6]
    assert ["novelty" in names for names in columns] == [False, True, True, True]


def test_names_of_novel_methods_reach_neither_weights_nor_memory(toy_table: FrameTable, tmp_path: Path) -> None:
    def trained(stream: Stream, name: str) -> dict[str, Any]:
        torch.manual_seed(0)
        method = CPL(detector=TinyDetector(), optimizer=OPTIMIZER, **USUAL)
        run(method, ToyData(stream), tmp_path / name, 2)
        return method.state_dict()

    specs = [TaskSpec(["columns"], unlabelled=["rows", "smooth"], labelled=0.5)]
    frame = toy_table.frame.copy()
    frame["method"] = frame["method"].replace({"rows": "smooth", "smooth": "rows"})
    expected = trained(build_stream(toy_table, specs), "honest")
    poisoned = trained(build_stream(replace(toy_table, frame=frame), specs), "poisoned")
    assert all(
        torch.equal(expected[name], poisoned[name]) for name in expected if isinstance(expected[name], torch.Tensor)
    )
