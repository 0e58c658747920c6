from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from continual_df.checkpoint_file import load_checkpoint, save_checkpoint
from continual_df.generators import generator_states, set_generator_states


def draw() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.standard_normal()),  # noqa: NPY002  the global generator is what is saved
        float(torch.rand(())),
        float(torch.randn(())),
    ]


def test_draws_repeat_after_a_way_through_a_file(tmp_path: Path) -> None:
    draw()  # so that the cached halves of normal pairs count too
    save_checkpoint(generator_states(), tmp_path / "x.ckpt")
    first = [draw() for _ in range(3)]
    set_generator_states(load_checkpoint(tmp_path / "x.ckpt"))
    assert [draw() for _ in range(3)] == first
