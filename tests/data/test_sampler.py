from __future__ import annotations

from collections import Counter

import pytest
import torch

from continual_df.data.sampler import Draw, PlanBatchSampler, Source
from continual_df.task import Role, Rows


def make_rows(num: int, start: int = 0, task: int = 0) -> Rows:
    sample = torch.arange(start, start + num)
    label = (sample % 3 > 0).long()
    return Rows(sample, label, sample % 3, torch.full_like(sample, task))


def epoch(sampler: PlanBatchSampler, number: int) -> list[list[Draw]]:
    sampler.set_epoch(number)
    return list(sampler)


def test_an_epoch_is_one_pass_over_the_current_rows_and_the_last_batch_is_short() -> None:
    sampler = PlanBatchSampler([Source(make_rows(10), 4)], seed=0, task=0)
    batches = epoch(sampler, 0)
    assert [len(batch) for batch in batches] == [4, 4, 2] == [4] * (len(sampler) - 1) + [2]
    assert sorted(draw.sample for batch in batches for draw in batch) == list(range(10))


def test_epochs_differ_in_order_and_repeat_by_seed() -> None:
    def order(seed: int, number: int) -> list[int]:
        sampler = PlanBatchSampler([Source(make_rows(50), 8)], seed=seed, task=1)
        return [draw.sample for batch in epoch(sampler, number) for draw in batch]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_any_batch_can_be_asked_for_alone() -> None:
    plan = [Source(make_rows(21), 4), Source(make_rows(5, 100, 7), 3, "label", Role.REPLAY)]
    whole = epoch(PlanBatchSampler(plan, seed=3, task=2), 4)
    alone = PlanBatchSampler(plan, seed=3, task=2)
    assert [alone.batch(4, index) for index in reversed(range(len(alone)))][::-1] == whole


def test_every_batch_has_its_share_of_replay_and_all_memory_is_used_before_any_row_returns() -> None:
    plan = [Source(make_rows(20), 4), Source(make_rows(7, 100, 9), 3, role=Role.REPLAY)]
    sampler = PlanBatchSampler(plan, seed=0, task=0)
    draws = []
    for number in range(3):
        for batch in epoch(sampler, number):
            replayed = [draw for draw in batch if draw.role == Role.REPLAY]
            assert len(replayed) == 3
            assert {draw.task for draw in replayed} == {9}
            draws += replayed
    counts = Counter(draw.sample for draw in draws)  # 45 draws over 7 rows
    assert set(counts.values()) == {6, 7}


@pytest.mark.parametrize("balance_by", ["label", "method"])
def test_balanced_sources_draw_equally_often_from_each_group(balance_by: str) -> None:
    rows = make_rows(31)
    plan = [Source(make_rows(60, 1000), 6), Source(rows, 6, balance_by, Role.REPLAY)]  # type: ignore[arg-type]
    for batch in epoch(PlanBatchSampler(plan, seed=0, task=0), 0):
        groups = Counter(getattr(draw, balance_by) for draw in batch if draw.role == Role.REPLAY)
        assert len(set(groups.values())) == 1


def test_processes_share_the_same_global_batch() -> None:
    plan = [Source(make_rows(10), 4)]
    whole = epoch(PlanBatchSampler(plan, 0, 0), 0)
    ranks = [epoch(PlanBatchSampler(plan, 0, 0, rank, 2), 0) for rank in range(2)]
    for batch, first, second in zip(whole, *ranks, strict=True):
        assert first == batch[::2]
        assert second == batch[1::2]


def test_a_plan_without_current_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="current rows"):
        PlanBatchSampler([Source(make_rows(4), 2, role=Role.REPLAY)], 0, 0)
    with pytest.raises(ValueError, match="per_batch"):
        PlanBatchSampler([Source(make_rows(4), 0)], 0, 0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("per_batch", [1, 2, 4, 7])
def test_the_mean_of_weighted_means_over_processes_is_the_mean_of_the_global_batch(
    world_size: int, per_batch: int
) -> None:
    plan = [Source(make_rows(10), per_batch)]
    shares = [epoch(PlanBatchSampler(plan, 0, 0, rank, world_size), 0) for rank in range(world_size)]
    for whole, *parts in zip(epoch(PlanBatchSampler(plan, 0, 0), 0), *shares, strict=True):
        means = [sum(draw.sample * draw.weight for draw in part) / len(part) for part in parts]
        assert sum(means) / world_size == pytest.approx(sum(draw.sample for draw in whole) / len(whole))
        counted = sorted(draw.sample for part in parts for draw in part if draw.weight > 0)
        assert counted == sorted(draw.sample for draw in whole)


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_sampler_that_starts_in_mid_epoch_yields_the_rest_once_and_keeps_its_length(start: int) -> None:
    plan = [Source(make_rows(10), 3), Source(make_rows(4, task=1), 2, role=Role.REPLAY)]
    whole = PlanBatchSampler(plan, seed=1, task=0)
    whole.set_epoch(2)
    rest = PlanBatchSampler(plan, seed=1, task=0, epoch=2, start=start)
    assert len(rest) == len(whole)
    assert list(rest) == list(whole)[start:]
    rest.set_epoch(3)
    whole.set_epoch(3)
    assert list(rest) == list(whole)
