"""Incremental decision alignment: turn the heads of all tasks towards one direction, keeping their lengths."""

from __future__ import annotations

import torch
from torch import Tensor

RELEASED_RATES = (0.01, 0.001, 0.0001, 0.00005)
"""How far SUR-LID's released code turns a head in one step, by its age from the newest; older ones turn like the last."""


def align_heads(weight_TCD: Tensor, rate: float) -> Tensor:
    """Return weights of which each head has been turned by ``rate`` towards the one before it, class by class, in order.

    With unit vectors ``u = w / ||w||``: ``w_t <- ||w_t|| v / ||v||``, ``v = (1 - rate) u_t + rate u_{t-1}``, for t = 1, 2, ...,
    where head t-1 has been turned already. The first head stays; so does one opposite to the head before it, and one of length 0.

    Cheng et al., 2025, arXiv:2411.11396 (IDA); the order along more than two heads is ours.

    Args:
        weight_TCD: Weights of T heads with C classes.
        rate: In [0, 0.5).

    Raises:
        ValueError: For a rate out of range.
    """
    if not 0 <= rate < 0.5:
        raise ValueError(f"rate must be at least 0 and below 0.5, got {rate}")
    aligned = [weight_CD for weight_CD in weight_TCD[:1]]
    for weight_CD in weight_TCD[1:]:
        aligned.append(_turn(weight_CD, aligned[-1], rate))
    return torch.stack(aligned)


def align_heads_released(weight_TCD: Tensor, rates: tuple[float, ...] = RELEASED_RATES) -> Tensor:
    """Return weights of which each head has been turned towards the one least like it, the newest furthest.

    Head i turns towards head j with the lowest cosine summed over classes, by ``rates`` at i's age from the newest; all at
    once. One head alone stays.
    """
    num = len(weight_TCD)
    if num < 2:
        return weight_TCD
    unit_TCD = torch.nn.functional.normalize(weight_TCD, dim=2)
    cosine_TT = torch.einsum("tcd,scd->ts", unit_TCD, unit_TCD).fill_diagonal_(torch.inf)
    turned = []
    for head, other in enumerate(cosine_TT.argmin(dim=1).tolist()):
        rate = rates[min(num - 1 - head, len(rates) - 1)]
        turned.append(_turn(weight_TCD[head], weight_TCD[other], rate))
    return torch.stack(turned)


def _turn(weight_CD: Tensor, towards_CD: Tensor, rate: float) -> Tensor:
    """Return the rows of ``weight_CD``, each turned by ``rate`` towards that of ``towards_CD``, at their own length."""
    length_C1 = weight_CD.norm(dim=1, keepdim=True)
    unit_CD = torch.nn.functional.normalize(weight_CD, dim=1)
    mixed_CD = (1 - rate) * unit_CD + rate * torch.nn.functional.normalize(towards_CD, dim=1)
    turned_CD: Tensor = length_C1 * torch.nn.functional.normalize(mixed_CD, dim=1)
    return turned_CD
