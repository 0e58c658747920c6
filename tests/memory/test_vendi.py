from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from continual_df.memory import select_vendi_greedy, vendi_score
from continual_df.memory.gaussian_kernel import gaussian_kernel, median_distance
from continual_df.memory.vendi_greedy import Kernel, VendiGreedy, power_sum_gain

ORDERS = [0.3, 0.5, 1.0, 1.5, 2.0, 5.0, math.inf]


def make_features(num: int, dimension: int, seed: int = 0) -> Tensor:
    return torch.randn(num, dimension, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def similarity(feature_ND: Tensor, kernel: Kernel) -> Tensor:
    if kernel == "rbf":
        return gaussian_kernel(torch.cdist(feature_ND, feature_ND), median_distance(feature_ND))
    return torch.nn.functional.cosine_similarity(feature_ND[:, None], feature_ND[None], dim=2)


def test_scores_of_a_block_of_two_and_one_apart_by_hand() -> None:
    """Eigenvalues of K / 3 are 2/3, 1/3, 0."""
    similarity_NN = torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert vendi_score(similarity_NN) == pytest.approx(3 / 2 ** (2 / 3))  # exp(log 3 - 2/3 log 2)
    assert vendi_score(similarity_NN, 2) == pytest.approx(9 / 5)
    assert vendi_score(similarity_NN, 0.5) == pytest.approx((math.sqrt(2 / 3) + math.sqrt(1 / 3)) ** 2)
    assert vendi_score(similarity_NN, math.inf) == pytest.approx(1.5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("num", [1, 2, 17])
def test_equal_rows_count_as_one_and_orthogonal_ones_as_all(order: float, num: int) -> None:
    assert vendi_score(torch.ones(num, num), order) == pytest.approx(1, abs=1e-6)
    assert vendi_score(torch.eye(num), order) == pytest.approx(num)


@pytest.mark.parametrize("order", ORDERS)
def test_a_set_that_is_there_twice_scores_the_same(order: float) -> None:
    feature_ND = make_features(8, 30)
    once, twice = (vendi_score(similarity(f, "cosine"), order) for f in (feature_ND, feature_ND.repeat(2, 1)))
    assert once == pytest.approx(twice, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(num=st.integers(1, 12), dimension=st.integers(1, 12), seed=st.integers(0, 99))
def test_scores_lie_between_one_and_the_rank_and_fall_with_the_order(num: int, dimension: int, seed: int) -> None:
    similarity_NN = similarity(make_features(num, dimension, seed), "cosine")
    scores = [vendi_score(similarity_NN, order) for order in ORDERS]
    assert all(a >= b - 1e-6 for a, b in itertools.pairwise(scores))
    assert min(num, dimension) + 1e-6 >= scores[0]
    assert scores[-1] >= 1 - 1e-9


def test_order_two_needs_no_eigenvalues_and_order_one_is_its_own_limit() -> None:
    similarity_NN = similarity(make_features(20, 7), "rbf")
    assert vendi_score(similarity_NN, 2) == pytest.approx(20**2 / float(similarity_NN.square().sum()))
    assert vendi_score(similarity_NN, 1) == pytest.approx(vendi_score(similarity_NN, 1 + 1e-6), rel=1e-5)
    assert vendi_score(similarity_NN, math.inf) == pytest.approx(vendi_score(similarity_NN, 4000), rel=1e-2)


def naive_greedy(feature_ND: Tensor, budget: int, order: float, kernel: Kernel) -> list[int]:
    similarity_NN = similarity(feature_ND, kernel)
    chosen = [int((feature_ND - feature_ND.mean(dim=0)).norm(dim=1).argmin())]
    while len(chosen) < budget:
        scores = {}
        for row in set(range(len(feature_ND))) - set(chosen):
            index = np.ix_([*chosen, row], [*chosen, row])
            scores[row] = vendi_score(similarity_NN[index], order)
        chosen.append(max(scores, key=lambda row: scores[row]))
    return chosen


@pytest.mark.parametrize("kernel", ["cosine", "rbf"])
@pytest.mark.parametrize("order", [0.5, 0.8, 1.0, 1.3, 1.9, 2.0])
@pytest.mark.parametrize("dimension", [3, 25])  # less and more than the budget
def test_each_step_of_greedy_takes_the_row_of_the_highest_score(dimension: int, order: float, kernel: Kernel) -> None:
    feature_ND = make_features(30, dimension)
    assert select_vendi_greedy(feature_ND, 9, order, kernel).tolist() == naive_greedy(feature_ND, 9, order, kernel)


@pytest.mark.parametrize("order", [0.5, 0.8, 1.0, 1.3, 1.9])
@pytest.mark.parametrize("dimension", [3, 25])
def test_integral_is_what_a_row_adds_to_the_powers_of_the_eigenvalues(dimension: int, order: float) -> None:
    feature_ND = make_features(12, dimension)
    feature_ND[11] = feature_ND[4]  # a copy of a chosen row
    similarity_NN, chosen = similarity(feature_ND, "cosine"), [7, 2, 4, 9, 0]

    def power_sum(rows: list[int]) -> float:
        eigenvalue = torch.linalg.eigvalsh(similarity_NN[np.ix_(rows, rows)]).clamp(min=0)
        return float(-torch.special.entr(eigenvalue).sum() if order == 1 else eigenvalue.pow(order).sum())

    gain_N = power_sum_gain(similarity_NN[chosen], chosen, order)
    for row in set(range(12)) - set(chosen):
        change = power_sum([*chosen, row]) - power_sum(chosen)
        said = -gain_N[row] if order == 1 else 1 + order * math.sin(math.pi * order) / math.pi * gain_N[row]
        assert float(said) == pytest.approx(change, abs=2e-5)


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_greedy_takes_a_copy_of_a_chosen_row_last(order: float, dtype: torch.dtype) -> None:
    feature_ND = make_features(10, 40).to(dtype).repeat(3, 1)
    chosen = select_vendi_greedy(feature_ND, 20, order)
    assert set((chosen[:10] % 10).tolist()) == set(range(10))
    assert len(set(chosen.tolist())) == 20


@pytest.mark.parametrize("order", [1.0, 2.0])
def test_greedy_is_more_diverse_than_chance(order: float) -> None:
    feature_ND = make_features(200, 10).float()
    similarity_NN = similarity(feature_ND, "cosine")
    generator = torch.Generator().manual_seed(0)
    greedy, *random = (
        vendi_score(similarity_NN[index][:, index], order)
        for index in [
            select_vendi_greedy(feature_ND, 20, order),
            *(torch.randperm(200, generator=generator)[:20] for _ in range(50)),
        ]
    )
    assert greedy > 1.1 * max(random)


def test_median_distance_is_that_of_different_rows() -> None:
    assert median_distance(torch.tensor([[0.0], [1.0], [5.0]])) == 4  # distances 1, 4, 5
    assert median_distance(torch.tensor([[0.0]] * 9 + [[6.0]])) == pytest.approx(6 * 9 / 45)  # more than half are 0
    assert median_distance(torch.ones(4, 2)) == median_distance(torch.ones(1, 2)) == 1
    sorted_ND = torch.arange(5000.0)[:, None]  # half of the pairs are nearer than N (1 - 1 / sqrt 2)
    assert median_distance(sorted_ND) == pytest.approx(5000 * (1 - 1 / math.sqrt(2)), rel=0.01)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"order must be from 0\.5 to 2, got 3"):
        VendiGreedy(order=3)
    with pytest.raises(ValueError, match="kernel must be one of cosine, rbf, got 'linear'"):
        VendiGreedy(kernel="linear")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order must be above 0, got 0"):
        vendi_score(torch.eye(2), 0)
