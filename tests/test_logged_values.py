from __future__ import annotations

from typing import Any

import torch

from continual_df.fit_position import move_checkpoints
from continual_df.logged_values import combine_logged


def test_processes_that_logged_apart_have_logged_together() -> None:
    def part(loss: float, rows: float, best: float, count: float) -> dict[str, list[Any]]:
        nothing = torch.zeros(())
        return {
            "loss": ["mean", torch.tensor(loss), torch.tensor(rows)],
            "best": ["max", torch.tensor(best), nothing],
            "worst": ["min", torch.tensor(best), nothing],
            "count": ["sum", torch.tensor(count), nothing],
        }

    other = {"once": ["sum", torch.tensor(1.0), torch.zeros(())]}
    found = combine_logged([part(6.0, 3.0, 0.5, 1.0), part(2.0, 1.0, 0.7, 4.0), other])
    assert {key: (float(value), float(weight)) for key, (_, value, weight) in found.items()} == {
        "loss": (8.0, 4.0),
        "best": (float(torch.tensor(0.7)), 0.0),
        "worst": (0.5, 0.0),
        "count": (5.0, 0.0),
        "once": (1.0, 0.0),
    }


def test_a_model_checkpoint_finds_its_files_in_the_moved_folder_and_no_others() -> None:
    score = torch.tensor(0.9)
    saved = {
        "dirpath": "a/epochs/1",
        "best_model_path": "a/epochs/1/x.ckpt",
        "kth_best_model_path": "",
        "last_model_path": "elsewhere/last.ckpt",
        "best_k_models": {"a/epochs/1/x.ckpt": score, "a/epochs/10/y.ckpt": score},
    }
    checkpoint = {"callbacks": {"ModelCheckpoint": saved, "EarlyStopping": {"wait_count": 1}}}
    move_checkpoints(checkpoint, "a/epochs/1", "/b/epochs/1")
    assert saved == {
        "dirpath": "/b/epochs/1",
        "best_model_path": "/b/epochs/1/x.ckpt",
        "kth_best_model_path": "",
        "last_model_path": "elsewhere/last.ckpt",
        "best_k_models": {"/b/epochs/1/x.ckpt": score, "a/epochs/10/y.ckpt": score},
    }
    assert checkpoint["callbacks"]["EarlyStopping"] == {"wait_count": 1}
