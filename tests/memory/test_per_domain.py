from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from continual_df.memory import Candidates, per_domain
from continual_df.memory.per_domain import domain_quotas
from continual_df.task import Rows


def naive_quotas(sizes: list[int], budget: int, priority: list[int]) -> list[int]:
    """Hand out one place after the other to the open domain that has least, then to that of least priority."""
    quotas = [0] * len(sizes)
    for _ in range(min(budget, sum(sizes))):
        best = min((k for k in range(len(sizes)) if quotas[k] < sizes[k]), key=lambda k: (quotas[k], priority[k]))
        quotas[best] += 1
    return quotas


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=8), st.integers(0, 120))
def test_quotas_are_those_of_handing_out_one_place_after_the_other(domains: list[tuple[int, int]], budget: int) -> None:
    sizes, priority = [size for size, _ in domains], [key for _, key in domains]
    assert domain_quotas(sizes, budget, priority).tolist() == naive_quotas(sizes, budget, priority)


def test_the_odd_place_goes_to_each_domain_in_some_seeds() -> None:
    rows = Rows(torch.arange(40), torch.arange(40) % 2, torch.zeros(40).long(), torch.zeros(40).long())
    first = per_domain()(lambda candidates, budget, seed: torch.arange(budget))
    assert {int(rows.pick(first(Candidates(rows), 3, seed)).label.sum()) for seed in range(20)} == {1, 2}


def test_a_rule_for_one_domain_sees_one_at_a_time_and_no_copy_where_its_rows_stand_together() -> None:
    rows = Rows(torch.arange(9), torch.tensor([0] * 4 + [1] * 5), torch.zeros(9).long(), torch.zeros(9).long())
    feature_ND = torch.randn(9, 2)
    seen = []

    @per_domain("feature_ND")
    def last_rows(candidates: Candidates, budget: int, seed: int) -> Tensor:
        """Take the last."""
        seen.append((candidates.rows.sample.tolist(), candidates.given("feature_ND").data_ptr(), budget, seed))
        return torch.arange(candidates.num - budget, candidates.num)

    assert last_rows(Candidates(rows, feature_ND), 4, 5).tolist() == [2, 3, 7, 8]
    assert [(samples, budget, seed) for samples, _, budget, seed in seen] == [
        ([0, 1, 2, 3], 2, 5),
        ([4, 5, 6, 7, 8], 2, 5),
    ]
    assert [pointer for _, pointer, _, _ in seen] == [feature_ND.data_ptr(), feature_ND[4:].data_ptr()]
    order = torch.tensor([8, 0, 7, 1, 6, 2, 5, 3, 4])
    # the last two of each label in this order, where the labels are mixed
    assert order[last_rows(Candidates(rows, feature_ND).pick(order), 4, 5)].tolist() == [2, 5, 3, 4]
    assert last_rows.needs == frozenset({"feature_ND"})  # type: ignore[attr-defined]
    assert (last_rows.__name__, last_rows.__doc__) == ("last_rows", "Take the last.")


@pytest.mark.parametrize("num", [1, 2])
def test_domains_without_a_place_are_not_asked(num: int) -> None:
    asked = []

    @per_domain()
    def rule(candidates: Candidates, budget: int, seed: int) -> Tensor:
        asked.append(candidates.num)
        return torch.arange(budget)

    task = torch.arange(12) // 3
    rows = Rows(torch.arange(12), torch.ones(12).long(), task, task)
    assert len(rule(Candidates(rows), num, 0)) == num
    assert asked == [3] * num


def test_quotas_take_plain_lists() -> None:
    assert np.array_equal(domain_quotas([5, 1, 5], 6, [2, 1, 0]), [2, 1, 3])
