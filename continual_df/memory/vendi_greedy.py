"""Greedy choice of the rows that are worth the most different rows, by Vendi score."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from continual_df.memory.centroid import centroid_distance
from continual_df.memory.gaussian_kernel import gaussian_kernel, median_distance
from continual_df.memory.per_domain import select_per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates

Kernel = Literal["cosine", "rbf"]


def select_vendi_greedy(feature_ND: Tensor, budget: int, order: float = 2.0, kernel: Kernel = "cosine") -> Tensor:
    """Return min(budget, N) positions: first the row nearest to the centroid, then always the one that raises the score most.

    The score is `vendi_score` of the chosen rows with order q; of one row it is 1, so the first is a matter of taste. A step
    computes one column of K, the similarities of all rows with the newest one.

    q = 2: the score of m rows is m^2 / |K|_F^2, so the next row i has the least sum_j k_ij^2 over the chosen j: a running
    sum. O(N D budget).

    q < 2: with k the similarities of i with the chosen rows and s_i(t) = 1 + t - k^T (K + t I)^-1 k the factor by which row i
    multiplies det(K + t I), Stieltjes' integral of x^q (of x log x where q = 1) over the eigenvalues gives the change of
    sum_i l_i^q, and the score of order q is largest where

        integral over t from 0 to inf of t^(q - 1) log(s_i(t) / (1 + t))

    is. It is computed for all rows at once from the eigenvectors of K, by the trapezoidal rule in log t, whose error is
    about exp(-2 pi^2 / step). O(N D budget + N budget^3 / 3).

    Args:
        feature_ND: Features.
        budget: Number of rows.
        order: q from 0.5 to 2; of lower ones, the eigenvalues that decide are within rounding of 0.
        kernel: ``cosine``, or ``rbf`` with the median distance between rows as bandwidth.
    """
    _check(order, kernel)
    similarity_to = _column_of_kernel(feature_ND, kernel)
    num = min(budget, len(feature_ND))
    chosen = [int(centroid_distance(feature_ND).argmin())] if num else []
    column_MN = feature_ND.new_empty((num, len(feature_ND)), dtype=torch.float64 if order < 2 else feature_ND.dtype)
    energy_N = feature_ND.new_zeros(len(feature_ND))
    while len(chosen) < num:
        column_N = similarity_to(chosen[-1])
        if order == 2:
            energy_N += column_N.square()
            gain_N = -energy_N
        else:
            column_MN[len(chosen) - 1] = column_N
            gain_N = power_sum_gain(column_MN[: len(chosen)], chosen, order)
        gain_N[chosen] = -torch.inf
        chosen.append(int(gain_N.argmax()))
    return torch.tensor(chosen, dtype=torch.long)


class VendiGreedy:
    """The selection rule of `select_vendi_greedy`, in each domain.

    Args:
        order: q from 0.5 to 2; 2 is the fastest by far.
        kernel: ``cosine`` or ``rbf``.
    """

    needs = frozenset({"feature_ND"})

    def __init__(self, order: float = 2.0, kernel: Kernel = "cosine") -> None:
        _check(order, kernel)
        self.order, self.kernel = order, kernel

    def __call__(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        """Return the positions of min(budget, N) candidates."""
        return select_per_domain(self._select_domain, candidates, budget, seed)

    def _select_domain(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        return select_vendi_greedy(candidates.given("feature_ND"), budget, self.order, self.kernel)


def _check(order: float, kernel: str) -> None:
    if not 0.5 <= order <= 2:
        raise ValueError(f"order must be from 0.5 to 2, got {order}")
    if kernel not in get_args(Kernel):
        raise ValueError(f"kernel must be one of {', '.join(get_args(Kernel))}, got {kernel!r}")


def _column_of_kernel(feature_ND: Tensor, kernel: Kernel) -> Callable[[int], Tensor]:
    """Return what gives the similarities (N,) of all rows with one, without a copy of the features."""
    if kernel == "rbf":
        bandwidth = median_distance(feature_ND)
        exact = "donot_use_mm_for_euclid_dist"

        def rbf(row: int) -> Tensor:
            distance_N = torch.cdist(feature_ND, feature_ND[row : row + 1], compute_mode=exact).squeeze(1)
            return gaussian_kernel(distance_N, bandwidth)

        return rbf
    norm_N = feature_ND.norm(dim=1).clamp(min=torch.finfo(feature_ND.dtype).tiny)
    return lambda row: feature_ND @ (feature_ND[row] / norm_N[row]) / norm_N


def power_sum_gain(column_MN: Tensor, chosen: list[int], order: float) -> Tensor:
    """Return for each row i the integral J_i (N,) that `select_vendi_greedy` maximises.

    Row i raises sum_j l_j^q, over the eigenvalues l of K (not of K / N), by 1 + q sin(pi q) / pi J_i, and
    sum_j l_j log l_j by -J_i.

    Args:
        column_MN: Similarities of the M chosen rows with all N, float64.
        chosen: The M chosen rows.
        order: q below 2.
    """
    eigenvalue_M, vector_MM = torch.linalg.eigh(column_MN[:, chosen])
    squared_MN = (vector_MM.T @ column_MN).square_()
    # below the first node t^q is less than 1e-6; beyond the last, t is more than 1e5 times the largest eigenvalue
    log_t_T = torch.arange(-16 / order, math.log(1e5 * len(chosen)) + 1, dtype=column_MN.dtype)
    t_T = log_t_T.exp()
    removed_TN = (1 / (eigenvalue_M.clamp(min=0) + t_T[:, None])) @ squared_MN  # k^T (K + t I)^-1 k, at most 1
    share_TN = (removed_TN / (1 + t_T[:, None])).minimum((1 / (1 + t_T))[:, None])
    integral_N: Tensor = t_T.pow(order) @ torch.log1p(-share_TN)
    ratio = math.exp(order - 2)  # beyond the last node the integrand is -|k|^2 t^(q - 3): a geometric series
    integral_N -= squared_MN.sum(dim=0) * t_T[-1] ** (order - 2) * ratio / (1 - ratio)
    return integral_N
