"""Fewer heads where more were given than are used (CAL's pruning of prototypes)."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class MergedHeads(NamedTuple):
    """What is left of K heads.

    Attributes:
        weight_MD: Weights of the M heads that are left, in their old order.
        into_K: The new head of each old one: its own, or that which it was merged into.
        keep_K: Which of the old ones are left.
    """

    weight_MD: Tensor
    into_K: Tensor
    keep_K: Tensor


def heads_to_keep(count_N: Tensor, coverage: float = 0.9544) -> Tensor:
    """Return keep_N, which of N novel heads are kept by how often each was the top one.

    With the counts in descending order, the heads that make up ``coverage`` of their sum are kept, and after them one by one those
    whose count is at least the mean of the tail, or which lie as far below the one before as the mean step of the tail; the tail
    begins with the last head of the coverage. So, where it falls off at once, a used head more than the coverage needs is kept.
    Where no head is used, all are.

    CAL, 2026, arXiv:2512.12667, as in the released code. Differs from it: a head that is never used is not kept.

    Args:
        count_N: Rows of an epoch whose top head each of them was.
        coverage: Share of the rows, in (0, 1].

    Raises:
        ValueError: If the coverage is out of its range.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be within (0, 1], got {coverage}")
    if not count_N.any():
        return torch.ones_like(count_N, dtype=torch.bool)
    sorted_N, order_N = count_N.double().sort(descending=True, stable=True)
    covered_N = sorted_N.cumsum(0) / sorted_N.sum()
    last = min(int((covered_N < coverage).sum()), len(sorted_N) - 1)
    tail = sorted_N[last:].tolist()
    mean = sum(tail) / len(tail)
    step = (tail[0] - tail[-1]) / max(len(tail) - 1, 1)
    kept = last + 1
    for before, count in pairwise(tail):
        if not count or (count < mean and before - count < step):
            break
        kept += 1
    keep_N = torch.zeros_like(count_N, dtype=torch.bool)
    keep_N[order_N[:kept]] = True
    return keep_N


def merge_heads(weight_KD: Tensor, count_K: Tensor, num_known: int, coverage: float = 0.9544) -> MergedHeads:
    """Return the heads with those of little use merged, each into the kept novel one of the nearest direction.

    A head takes the direction of the mean of itself and what is merged into it, each at its length, and keeps its own length;
    those of known classes are not touched.

    CAL, 2026, arXiv:2512.12667. Differs from it: lengths other than 1 are kept, so that it serves heads of any kind.

    Args:
        weight_KD: Weights, known classes first.
        count_K: Rows of an epoch whose top head each of them was.
        num_known: Number of known classes.
        coverage: Of `heads_to_keep`.
    """
    keep_K = torch.ones(len(weight_KD), dtype=torch.bool, device=weight_KD.device)
    keep_K[num_known:] = heads_to_keep(count_K[num_known:], coverage).to(keep_K.device)
    into_K = keep_K.cumsum(0) - 1
    novel_K = keep_K.clone()
    novel_K[:num_known] = False
    unit_KD = F.normalize(weight_KD.detach().float(), dim=1)
    cosine_KK = (unit_KD @ unit_KD.T).masked_fill(~novel_K, -torch.inf)
    into_K = torch.where(keep_K, into_K, into_K[cosine_KK.argmax(dim=1)])
    member_MK = F.one_hot(into_K, int(keep_K.sum())).T.to(weight_KD.dtype)
    kept_MD = weight_KD.detach()[keep_K]
    merged_MD = F.normalize(member_MK @ weight_KD.detach(), dim=1) * kept_MD.norm(dim=1, keepdim=True)
    alone_M = member_MK.sum(dim=1) == 1
    return MergedHeads(torch.where(alone_M[:, None], kept_MD, merged_MD), into_K, keep_K)
