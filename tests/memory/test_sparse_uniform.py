from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from continual_df.memory import Candidates, SparseUniform, select_sparse_uniform
from continual_df.memory.sparse_uniform import Variant
from continual_df.task import Rows

VARIANTS: tuple[Variant, ...] = get_args(Variant)


def make_features(num: int, seed: int = 0, dimension: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    feature_ND = torch.randn(num, dimension, generator=generator, dtype=torch.float64) + 0.7
    return feature_ND, feature_ND + 0.8 * torch.randn(num, dimension, generator=generator, dtype=torch.float64)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))


def cut(items: list[int], num: int) -> list[list[int]]:
    """Into ``num`` pieces; the first len % num of them are one longer."""
    pieces, start = [], 0
    for piece in range(num):
        size = len(items) // num + (piece < len(items) % num)
        pieces.append(items[start : start + size])
        start += size
    return pieces


def naive(feature: np.ndarray, shuffled: np.ndarray, budget: int, variant: Variant) -> list[int]:
    rows = range(len(feature))
    if len(feature) <= budget:
        return list(rows)
    if variant == "paper":
        centroid = sum(feature) / len(feature)
        magnitude = [math.dist(feature[i], centroid) for i in rows]
        stability = [cosine(feature[i], shuffled[i]) for i in rows]
    else:
        centroid = feature[0]
        for i in rows[1:]:
            centroid = 0.9 * centroid + 0.1 * feature[i]
        magnitude = [-float(feature[i] @ centroid) for i in rows]
        stability = [float(feature[i] @ shuffled[i]) for i in rows]
    chosen = []
    for number, segment in enumerate(cut(sorted(rows, key=lambda i: magnitude[i]), -(-budget // 2))):
        stable = max(segment, key=lambda i: stability[i])
        others = [i for i in segment if i != stable]
        chosen.append(stable)
        if number or budget % 2 == 0:
            chosen.append(min(others, key=lambda i: cosine(feature[i], feature[stable])))
    return chosen


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=60, deadline=None)
@given(num=st.integers(1, 60), budget=st.integers(1, 70), seed=st.integers(0, 1000))
def test_selection_is_that_of_the_formulas(variant: Variant, num: int, budget: int, seed: int) -> None:
    feature_ND, shuffled_ND = make_features(num, seed)
    chosen = select_sparse_uniform(feature_ND, shuffled_ND, budget, variant)
    assert chosen.tolist() == naive(feature_ND.numpy(), shuffled_ND.numpy(), budget, variant)
    assert len(set(chosen.tolist())) == min(budget, num)


def test_four_rows_by_hand() -> None:
    """Centroid (0, 0), so magnitudes are 1, 1.1, 2, 3, 3.9 (twice), 4; three of a segment, then four."""
    angle = torch.deg2rad(torch.tensor([0.0, 90, 180, 270, 45, 225, 135], dtype=torch.float64))
    length = torch.tensor([1.0, 1.1, 2, 3, 3.9, 4, 3.9], dtype=torch.float64)
    feature_ND = torch.stack([length * angle.cos(), length * angle.sin()], dim=1)
    feature_ND = torch.cat([feature_ND, -feature_ND.sum(dim=0, keepdim=True)])  # the eighth row makes the mean 0
    shuffled_ND = feature_ND.flip(1)  # cosine with the swapped coordinates: sin 2 angle, 1 at 45 and 225 degrees
    distance_N = feature_ND.norm(dim=1)
    inner, outer = distance_N.argsort()[:4].tolist(), distance_N.argsort()[4:].tolist()
    chosen = select_sparse_uniform(feature_ND, shuffled_ND, 4).tolist()
    assert set(chosen[:2]) <= set(inner)
    assert set(chosen[2:]) <= set(outer)
    stable, far = chosen[2:]
    assert stable in (4, 5)  # the two outer rows whose shuffled features are their own
    assert far == {4: 5, 5: 4}[stable]  # 180 degrees apart


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_whole_sorted_list_is_covered(variant: Variant) -> None:
    feature_ND, shuffled_ND = make_features(1000)
    centroid = feature_ND.mean(dim=0)
    if variant == "released":
        centroid = torch.zeros(6, dtype=torch.float64)
        for feature_D in feature_ND:
            centroid = 0.9 * centroid + 0.1 * feature_D  # from 0: of 1000 rows the first does not matter
        order = (feature_ND @ centroid).argsort(descending=True)
    else:
        order = (feature_ND - centroid).norm(dim=1).argsort()
    rank = order.argsort()[select_sparse_uniform(feature_ND, shuffled_ND, 504, variant)]
    # 252 segments of 3 or 4; the released code takes 252 of 3, and never the last 244 rows
    assert rank.max() >= 1000 - 4
    assert torch.bincount((rank // 50).long()).min() >= 23


@pytest.mark.parametrize(("num", "budget"), [(30, 7), (31, 1), (9, 8), (100, 51)])
def test_an_orthogonal_map_changes_nothing(num: int, budget: int) -> None:
    feature_ND, shuffled_ND = make_features(num)
    turn_DD = torch.linalg.qr(make_features(6, seed=9)[0]).Q
    for variant in VARIANTS:
        chosen = select_sparse_uniform(feature_ND, shuffled_ND, budget, variant)
        assert torch.equal(chosen, select_sparse_uniform(feature_ND @ turn_DD, shuffled_ND @ turn_DD, budget, variant))


def test_paper_looks_at_the_angle_of_the_shuffled_feature_and_released_at_its_length_too() -> None:
    feature_ND, shuffled_ND = make_features(20)
    stretched_ND = shuffled_ND * torch.linspace(0.1, 9, 20, dtype=torch.float64)[:, None]
    same = [
        torch.equal(*(select_sparse_uniform(feature_ND, s, 6, variant) for s in (shuffled_ND, stretched_ND)))
        for variant in VARIANTS
    ]
    assert same == [True, False]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("budget", [1, 4, 5])
def test_rows_that_are_all_equal_still_give_the_budget(variant: Variant, budget: int) -> None:
    chosen = select_sparse_uniform(torch.ones(11, 3), torch.ones(11, 3), budget, variant)
    assert len(set(chosen.tolist())) == budget


def one_task(num: int) -> Rows:
    return Rows(torch.arange(num), torch.arange(num) % 2, torch.zeros(num).long(), torch.zeros(num).long())


def test_rule_selects_in_each_domain_by_the_formula_of_the_paper() -> None:
    rule, rows = SparseUniform(), one_task(40)
    feature_ND, shuffled_ND = make_features(40)
    chosen = rule(Candidates(rows, feature_ND, rule.stability(feature_ND, shuffled_ND)), 10, 0)
    expected = [
        own[select_sparse_uniform(feature_ND[own], shuffled_ND[own], 5)]
        for own in ((rows.label == label).nonzero().squeeze(1) for label in (0, 1))
    ]
    assert chosen.tolist() == torch.cat(expected).sort().values.tolist()


def test_released_rule_averages_in_a_random_order_of_its_own_and_not_that_of_the_table() -> None:
    rule = SparseUniform("released")
    rows = one_task(60)
    feature_ND, shuffled_ND = make_features(60)
    candidates = Candidates(rows, feature_ND, rule.stability(feature_ND, shuffled_ND))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    chosen = rule(candidates, 12, 0)
    assert set(order[rule(candidates.pick(order), 12, 0)].tolist()) == set(chosen.tolist())
    assert any(not torch.equal(rule(candidates, 12, seed), chosen) for seed in range(1, 5))


def test_view_shuffles_each_image_by_its_seed_and_sample() -> None:
    image_BCHW, sample_B = torch.rand(3, 3, 8, 8), torch.tensor([4, 5, 6])
    view = SparseUniform(cells=4, seed=1).view(image_BCHW, sample_B)
    assert not torch.equal(view, image_BCHW)
    assert torch.equal(view[1:], SparseUniform(cells=4, seed=1).view(image_BCHW[1:], sample_B[1:]))
    assert not torch.equal(view, SparseUniform(cells=4, seed=2).view(image_BCHW, sample_B))
    assert not torch.equal(view, SparseUniform(cells=2, seed=1).view(image_BCHW, sample_B))


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="variant must be one of paper, released, got 'papr'"):
        SparseUniform("papr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="variant must be one of paper, released, got 'x'"):
        select_sparse_uniform(torch.ones(2, 2), torch.ones(2, 2), 1, "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cells must be at least 2, got 1"):
        SparseUniform(cells=1)
