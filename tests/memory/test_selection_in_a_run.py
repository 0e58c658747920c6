from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor
from torch.optim import Adam

from continual_df.data.frame_table import FrameTable
from continual_df.data.stream import TaskSpec, build_stream
from continual_df.memory import ReplayMemory, SparseUniform, select_sparse_uniform
from continual_df.methods import Method, Replay
from continual_df.run_folder import RunFolder
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run


def method_with(rule: SparseUniform) -> Method:
    torch.manual_seed(0)
    optimizer = functools.partial(Adam, lr=3e-2)
    return Replay(ReplayMemory(8, per_task=True, rule=rule), detector=TinyDetector(), optimizer=optimizer)


def test_a_run_remembers_what_the_formula_selects_from_the_images_of_the_trained_detector(
    toy_table: FrameTable, tmp_path: Path
) -> None:
    stream = build_stream(toy_table, [TaskSpec(["columns"])])
    rule = SparseUniform(cells=4, seed=5)
    run(method_with(rule), ToyData(stream), tmp_path / "run", epochs=1)
    method = method_with(rule)
    method.restore(stream.tasks, RunFolder(tmp_path / "run").load_task(1)["state_dict"])
    method.eval()
    rows = stream.rows(0, "train")

    def features(sample_B: Tensor, shuffled: bool) -> Tensor:
        paths = toy_table.frame["path"].to_numpy()[sample_B.numpy()]
        pixels = np.stack([np.asarray(Image.open(toy_table.root / path)) for path in paths])
        image_BCHW = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            features_BD: Tensor = method(rule.view(image_BCHW, sample_B) if shuffled else image_BCHW).features
        return features_BD

    expected = set()
    for label in (0, 1):
        sample = rows.sample[rows.label == label]
        expected |= set(sample[select_sparse_uniform(features(sample, False), features(sample, True), 4)].tolist())
    assert set(pd.read_parquet(tmp_path / "run/tasks/1/memory.parquet")["sample"]) == expected
