from __future__ import annotations

import pytest
import torch
from torch import nn

from continual_df.memory import ReplayMemory
from continual_df.memory.memory_columns import memory_columns
from continual_df.task import Rows


class Rememberer(nn.Module):
    """A module with a memory for each list of samples."""

    def __init__(self, *samples: list[int]) -> None:
        super().__init__()
        for number, sample in enumerate(samples):
            memory = ReplayMemory(9)
            memory.rows = Rows(*(torch.tensor(sample, dtype=torch.long) + column for column in range(4)))
            self.add_module(f"memory_{number}", memory)


def test_one_memory_is_its_rows_and_the_values_beside_them() -> None:
    method = Rememberer([3, 5])
    method.memory_0.values = {"fake_logit": torch.tensor([0.5, 1.5])}  # type: ignore[assignment]
    columns = memory_columns(method)
    assert columns is not None
    assert {name: value.tolist() for name, value in columns.items()} == {
        "sample": [3, 5],
        "label": [4, 6],
        "method": [5, 7],
        "task": [6, 8],
        "fake_logit": [0.5, 1.5],
    }


def test_several_memories_follow_each_other_and_are_told_apart() -> None:
    columns = memory_columns(Rememberer([3, 5], [], [5, 8, 1]))
    assert columns is not None
    assert list(columns) == ["sample", "label", "method", "task", "memory"]
    assert columns["sample"].tolist() == [3, 5, 5, 8, 1]
    assert columns["memory"].tolist() == [0, 0, 2, 2, 2]


def test_values_beside_one_of_several_memories_are_refused() -> None:
    method = Rememberer([3, 5], [4])
    method.memory_0.values = {"fake_logit": torch.tensor([0.5, 1.5])}  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"Rememberer has 2 memories, .* fake_logit is kept"):
        memory_columns(method)


def test_without_a_memory_there_is_no_table() -> None:
    assert memory_columns(nn.Linear(2, 2)) is None
