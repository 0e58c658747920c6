from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_df.memory import (
    Candidates,
    PrototypeGuided,
    SelectionRule,
    SparseUniform,
    VendiGreedy,
    select_centre,
    select_class_balanced,
    select_hard,
    select_hard_central,
    select_herding,
    select_moderate,
    select_reservoir,
)
from continual_df.task import Rows

RULES: dict[str, SelectionRule] = {
    "reservoir": select_reservoir,
    "class_balanced": select_class_balanced,
    "herding": select_herding,
    "centre": select_centre,
    "hard": select_hard,
    "hard_central": select_hard_central,
    "moderate": select_moderate,
    "sur": SparseUniform(),
    "sur_released": SparseUniform("released"),
    "vendi": VendiGreedy(),
    "prototype_guided": PrototypeGuided(),
    "vendi_rbf": VendiGreedy(kernel="rbf"),
    "vendi_entropy": VendiGreedy(order=1.0),
}
BY_FEATURES = [name for name in RULES if name not in ("reservoir", "class_balanced")]


def make_candidates(sizes: list[int], seed: int = 0, dimension: int = 5) -> Candidates:
    """Domains (task i // 2, label i % 2) of these sizes, in random order, float64."""
    generator = torch.Generator().manual_seed(seed)
    domain = torch.cat([torch.full((size,), i) for i, size in enumerate(sizes)])
    num = len(domain)
    domain = domain[torch.randperm(num, generator=generator)]
    rows = Rows(torch.arange(num) * 7 + 3, domain % 2, domain, domain // 2)
    feature_ND, shuffled_ND = torch.randn(2, num, dimension, generator=generator, dtype=torch.float64) + 0.5
    stability_N = torch.nn.functional.cosine_similarity(feature_ND, shuffled_ND, dim=1)
    return Candidates(rows, feature_ND, stability_N, 30 * torch.randn(num, generator=generator))


def one_domain(num: int, seed: int = 0, dimension: int = 5) -> Candidates:
    return make_candidates([num], seed, dimension)


def naive_herding(feature: np.ndarray, budget: int) -> list[int]:
    phi = feature / np.linalg.norm(feature, axis=1, keepdims=True)
    chosen: list[int] = []
    for k in range(1, budget + 1):
        gaps = {
            i: np.linalg.norm(phi.mean(axis=0) - (phi[i] + sum(phi[j] for j in chosen)) / k)
            for i in range(len(phi))
            if i not in chosen
        }
        chosen.append(min(gaps, key=lambda i: gaps[i]))
    return chosen


def naive_centre(feature: np.ndarray) -> list[int]:
    mean = sum(feature) / len(feature)
    return sorted(range(len(feature)), key=lambda i: math.dist(feature[i], mean))


def naive_hard(logit: np.ndarray) -> list[int]:
    def entropy(z: float) -> float:
        p = 1 / (1 + math.exp(-z))
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    return sorted(range(len(logit)), key=lambda i: -entropy(float(logit[i])))


@pytest.mark.parametrize("budget", [1, 2, 7, 20])
def test_herding_is_the_greedy_match_of_the_mean(budget: int) -> None:
    candidates = one_domain(30)
    feature = candidates.given("feature_ND").numpy()
    assert sorted(naive_herding(feature, budget)) == select_herding(candidates, budget, 0).tolist()


def test_herding_matches_the_mean_better_than_chance() -> None:
    candidates = one_domain(200, dimension=20)
    phi = torch.nn.functional.normalize(candidates.given("feature_ND"), dim=1)
    gaps = [
        float((phi[index].mean(dim=0) - phi.mean(dim=0)).norm())
        for index in [
            select_herding(candidates, 10, 0),
            *(select_reservoir(candidates, 10, seed) for seed in range(50)),
        ]
    ]
    assert gaps[0] < 0.5 * min(gaps[1:])


@pytest.mark.parametrize("budget", [1, 8])
def test_centre_takes_the_rows_nearest_to_the_mean(budget: int) -> None:
    candidates = one_domain(30)
    expected = naive_centre(candidates.given("feature_ND").numpy())[:budget]
    assert select_centre(candidates, budget, 0).tolist() == sorted(expected)


def test_hard_takes_the_rows_of_highest_entropy() -> None:
    candidates = dataclasses.replace(one_domain(30), fake_logit_N=torch.linspace(-5, 4, 30))
    expected = naive_hard(candidates.given("fake_logit_N").numpy())[:9]
    assert select_hard(candidates, 9, 0).tolist() == sorted(expected)


def test_hard_tells_saturated_rows_apart() -> None:
    logit_N = torch.tensor([-400.0, 300.0, 500.0, -200.0])  # P(fake) is 0 or 1 in float32
    candidates = dataclasses.replace(one_domain(4), fake_logit_N=logit_N)
    assert select_hard(candidates, 2, 0).tolist() == [1, 3]


@pytest.mark.parametrize("budget", [1, 2, 7, 8])
def test_hard_central_is_half_and_half_without_a_row_twice(budget: int) -> None:
    candidates = dataclasses.replace(one_domain(20), fake_logit_N=torch.linspace(-3, 4, 20))
    feature, logit = candidates.given("feature_ND").numpy(), candidates.given("fake_logit_N").numpy()
    hard = naive_hard(logit)[: budget - budget // 2]
    central = [i for i in naive_centre(feature) if i not in hard][: budget // 2]
    assert select_hard_central(candidates, budget, 0).tolist() == sorted(hard + central)


def test_hard_central_fills_the_place_of_a_row_that_is_both() -> None:
    feature_ND = torch.tensor([[0.0], [0.1], [-0.2], [5.0], [-5.0]])
    fake_logit_N = torch.tensor([0.0, 9.0, 8.0, 1.0, 7.0])  # row 0 is hardest and most central
    candidates = dataclasses.replace(one_domain(5), feature_ND=feature_ND, fake_logit_N=fake_logit_N)
    assert select_hard_central(candidates, 4, 0).tolist() == [0, 1, 2, 3]


def test_moderate_takes_the_rows_around_the_median_distance() -> None:
    distances = [1.0, 2.0, 3.0, 10.0, 10.5, 30.0]  # the median is 6.5
    feature_ND = torch.tensor([[sign * d] for d in distances for sign in (1.0, -1.0)])  # the mean is 0
    candidates = dataclasses.replace(one_domain(12), feature_ND=feature_ND)
    assert select_moderate(candidates, 4, 0).tolist() == [4, 5, 6, 7]
    assert select_moderate(candidates, 6, 0).tolist() == [4, 5, 6, 7, 8, 9]


SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=6)


@pytest.mark.parametrize("name", list(RULES))
@settings(max_examples=25, deadline=None)
@given(sizes=SIZES, budget=st.integers(1, 40), equal=st.booleans())
def test_every_rule_keeps_its_budget_exactly(name: str, sizes: list[int], budget: int, equal: bool) -> None:
    candidates = make_candidates(sizes)
    if equal:  # all rows are the same: nothing but ties
        candidates = dataclasses.replace(
            candidates,
            feature_ND=torch.ones_like(candidates.given("feature_ND")),
            stability_N=torch.ones_like(candidates.given("stability_N")),
            fake_logit_N=torch.zeros_like(candidates.given("fake_logit_N")),
        )
    chosen = RULES[name](candidates, budget, 0)
    assert chosen.dtype == torch.long
    assert len(set(chosen.tolist())) == len(chosen) == min(budget, sum(sizes))
    assert all(0 <= position < sum(sizes) for position in chosen.tolist())


@pytest.mark.parametrize("name", BY_FEATURES)
def test_rules_over_features_share_the_budget_between_domains(name: str) -> None:
    candidates = make_candidates([40, 3, 30, 20])
    chosen = candidates.rows.pick(RULES[name](candidates, 25, 0))
    counts = Counter(zip(chosen.task.tolist(), chosen.label.tolist(), strict=True))
    assert counts.pop((0, 1)) == 3  # the small domain is kept whole
    assert sorted(counts.values()) == [7, 7, 8]


@pytest.mark.parametrize("name", BY_FEATURES)
def test_what_a_rule_takes_of_a_domain_does_not_depend_on_the_others(name: str) -> None:
    candidates = make_candidates([20, 20, 20])
    chosen = RULES[name](candidates, 21, 0)
    own_N = candidates.rows.task * 2 + candidates.rows.label == 1
    alone = own_N.nonzero().squeeze(1)[RULES[name](candidates.pick(own_N), 7, 0)]
    assert alone.tolist() == [position for position in chosen.tolist() if own_N[position]]


def content(candidates: Candidates) -> list[Any]:
    return [*candidates.rows, candidates.feature_ND, candidates.stability_N, candidates.fake_logit_N]


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_is_pure(name: str) -> None:
    candidates = make_candidates([15, 9, 30])
    before = [value.clone() for value in content(candidates)]
    torch.manual_seed(0)
    first = RULES[name](candidates, 11, 1)
    torch.manual_seed(1)
    assert torch.equal(first, RULES[name](candidates, 11, 1))
    assert all(torch.equal(a, b) for a, b in zip(before, content(candidates), strict=True))
    assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(1).get_state())


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_reads_no_more_than_it_needs(name: str) -> None:
    rule, candidates = RULES[name], make_candidates([9, 8])
    needs: frozenset[str] = getattr(rule, "needs", frozenset())
    fields = {field: getattr(candidates, field) for field in needs}
    assert torch.equal(rule(Candidates(candidates.rows, **fields), 6, 0), rule(candidates, 6, 0))
    for field in needs:
        with pytest.raises(ValueError, match=f"hold no {field}: name it in the `needs`"):
            rule(Candidates(candidates.rows, **{**fields, field: None}), 6, 0)


@pytest.mark.parametrize("name", BY_FEATURES)
def test_an_orthogonal_map_of_all_features_changes_no_selection(name: str) -> None:
    candidates = make_candidates([30, 31], dimension=6)
    turn_DD = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    turned = dataclasses.replace(candidates, feature_ND=candidates.given("feature_ND") @ turn_DD)
    assert torch.equal(RULES[name](candidates, 17, 0), RULES[name](turned, 17, 0))


@pytest.mark.parametrize("name", [name for name in BY_FEATURES if name != "sur_released"])
def test_the_order_of_the_rows_decides_nothing(name: str) -> None:
    candidates = make_candidates([14, 15])
    order = torch.randperm(29, generator=torch.Generator().manual_seed(5))
    chosen, other = RULES[name](candidates, 9, 0), RULES[name](candidates.pick(order), 9, 0)
    assert set(order[other].tolist()) == set(chosen.tolist())
