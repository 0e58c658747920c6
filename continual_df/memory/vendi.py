"""The Vendi score: how many different rows a set of rows is worth."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def vendi_score(similarity_NN: Tensor, order: float = 1.0) -> float:
    """Return the exponential of the Renyi entropy of order q of the eigenvalues l of K / N.

    (sum_i l_i^q)^(1 / (1 - q)); q = 1 is exp(-sum_i l_i log l_i), q = 2 is N^2 / |K|_F^2, q = inf is 1 / max l. From 1 (all
    rows are the same) to N (all are orthogonal); the larger q, the less rare rows count.

    Friedman and Dieng, 2022, "The Vendi Score", arXiv:2210.02410; of order q: Pasarkar and Dieng, 2023, "Cousins of the
    Vendi Score", arXiv:2310.12952.

    Args:
        similarity_NN: K, positive semi-definite, with ones on the diagonal.
        order: q > 0; ``math.inf`` too.
    """
    if order <= 0:
        raise ValueError(f"order must be above 0, got {order}")
    num = len(similarity_NN)
    eigenvalue_N = torch.linalg.eigvalsh(similarity_NN.double()) / num
    largest = float(eigenvalue_N.max())
    rounding = num * torch.finfo(torch.float64).eps * largest
    eigenvalue_N = torch.where(eigenvalue_N > rounding, eigenvalue_N, 0)  # of order < 1, rounding would count as rows
    if order == 1:
        return math.exp(float(torch.special.entr(eigenvalue_N).sum()))
    if math.isinf(order):
        return 1 / largest
    log_sum = math.log((eigenvalue_N / largest).pow(order).sum()) + order * math.log(
        largest
    )  # l^q alone would underflow
    return math.exp(log_sum / (1 - order))
