from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from continual_df.memory import Candidates, ReplayMemory, SelectionRule, select_class_balanced, select_reservoir
from continual_df.task import Rows, View

RULES = [select_reservoir, select_class_balanced]


def no_extract(rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
    raise AssertionError("a rule that needs nothing costs no prediction")


def make_rows(num: int, task: int, start: int) -> Rows:
    sample = torch.arange(start, start + num)
    return Rows(sample, sample % 2, (sample % 2) * (task + 1), torch.full_like(sample, task))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("capacity", [1, 7, 30, 1000])
@pytest.mark.parametrize("per_task", [False, True])
def test_memory_holds_its_capacity_and_no_sample_twice(rule: SelectionRule, capacity: int, per_task: bool) -> None:
    memory = ReplayMemory(capacity, per_task=per_task, rule=rule)
    total = 0
    for task, num in enumerate([40, 3, 25]):
        memory.update(make_rows(num, task, total), no_extract)
        total += num
        sizes = [min(capacity, n) for n in [40, 3, 25][: task + 1]]
        assert memory.rows.num == (sum(sizes) if per_task else min(capacity, total))
        assert len(set(memory.rows.sample.tolist())) == memory.rows.num


def test_reservoir_does_not_depend_on_how_rows_arrive() -> None:
    whole = ReplayMemory(10, seed=3)
    whole.update(make_rows(100, 0, 0), no_extract)
    parts = ReplayMemory(10, seed=3)
    for start in (60, 0, 30):
        parts.update(make_rows(40 if start == 60 else 30, 0, start), no_extract)
    assert set(whole.rows.sample.tolist()) == set(parts.rows.sample.tolist())


def test_reservoir_is_uniform() -> None:
    rows = make_rows(20, 0, 0)
    counts = Counter(int(i) for seed in range(2000) for i in select_reservoir(Candidates(rows), 5, seed))
    # each row is picked with p = 1/4: 500 of 2000, standard deviation 19
    assert all(abs(counts[i] - 500) < 90 for i in range(20))


def test_class_balanced_quotas_differ_by_one_and_small_domains_leave_their_share() -> None:
    rows = Rows.concat([make_rows(40, 0, 0), make_rows(6, 1, 40), make_rows(40, 2, 50)])
    chosen = rows.pick(select_class_balanced(Candidates(rows), 25, 0))
    counts = Counter(zip(chosen.task.tolist(), chosen.label.tolist(), strict=True))
    assert counts[1, 0] == counts[1, 1] == 3  # the small task is kept whole
    others = [counts[task, label] for task in (0, 2) for label in (0, 1)]
    assert sorted(others) == [4, 5, 5, 5]


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_pure(rule: SelectionRule) -> None:
    candidates = Candidates(make_rows(30, 0, 0))
    assert torch.equal(rule(candidates, 9, 1), rule(candidates, 9, 1))
    assert not torch.equal(rule(candidates, 9, 1), rule(candidates, 9, 2))
    assert rule(Candidates(Rows.empty()), 5, 0).numel() == 0


def test_a_returning_real_is_not_counted_twice() -> None:
    memory = ReplayMemory(100)
    memory.update(make_rows(10, 0, 0), no_extract)
    again = make_rows(10, 1, 0)
    memory.update(again, no_extract)
    assert memory.rows.num == 10
    assert set(memory.rows.task.tolist()) == {0}


def test_memory_travels_in_a_state_dict_without_pickle(tmp_path: object) -> None:
    memory = ReplayMemory(5)
    memory.update(make_rows(10, 0, 0), no_extract)
    path = f"{tmp_path}/memory.pt"
    torch.save(memory.state_dict(), path)
    other = ReplayMemory(5)
    other.load_state_dict(torch.load(path, weights_only=True))
    assert all(np.array_equal(a, b) for a, b in zip(memory.rows, other.rows, strict=True))


def test_an_impossible_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        ReplayMemory(0)
