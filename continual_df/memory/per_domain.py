"""From a rule for one domain to one for all: each domain (real or fake of one task) gets an even share of the budget."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from continual_df.randomness import priority

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates, SelectionRule

Select = Callable[["Candidates", int, int], Tensor]


def per_domain(*needs: str) -> Callable[[Select], Select]:
    """Turn a function of one domain's candidates into a selection rule over all domains, by `select_per_domain`.

    Args:
        *needs: The fields of `Candidates` that the function reads.
    """

    def decorate(select: Select) -> Select:
        @functools.wraps(select)
        def rule(candidates: Candidates, budget: int, seed: int) -> Tensor:
            return select_per_domain(select, candidates, budget, seed)

        rule.needs = frozenset(needs)  # type: ignore[attr-defined]
        return rule

    return decorate


def select_per_domain(select: SelectionRule, candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return the positions that ``select`` chooses in each domain (task, label) of the candidates, in their order.

    Args:
        select: ``(candidates of one domain, its quota, seed) -> positions`` among them.
        candidates: Those of all domains; a domain whose rows stand together is handed on without a copy.
        budget: Positions in all; `domain_quotas` shares them out.
        seed: Handed on; breaks ties between domains.
    """
    rows = candidates.rows
    if rows.num == 0:
        return torch.empty(0, dtype=torch.long)
    keys_2K, domain_N = np.unique(np.stack([rows.task.numpy(), rows.label.numpy()]), axis=1, return_inverse=True)
    domain_N = domain_N.ravel()  # numpy 2.0 gave it a second axis
    names_K = keys_2K[0] * 3 + keys_2K[1] + 1  # labels are -1, 0, 1
    chosen = []
    for domain, quota in enumerate(domain_quotas(np.bincount(domain_N), budget, priority(seed, names_K))):
        if quota:
            position = np.flatnonzero(domain_N == domain)
            first, last = int(position[0]), int(position[-1])
            index_n = torch.from_numpy(position)
            together = last - first + 1 == len(position)
            own = candidates.pick(slice(first, last + 1) if together else index_n)
            chosen.append(index_n[select(own, int(quota), seed)])
    return torch.cat(chosen).sort().values


def domain_quotas(size_K: npt.ArrayLike, budget: int, priority_K: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return how many rows each of K domains gives.

    As even as possible: those of domains that are not used up differ by at most one, the domains of least priority get
    the rest, and what a small domain cannot fill goes to the others. Their sum is min(budget, sum of sizes).
    """
    size_K, priority_K = np.asarray(size_K, dtype=np.int64), np.asarray(priority_K)
    quota_K = np.zeros_like(size_K)
    left = min(budget, int(size_K.sum()))
    while left:
        open_K = quota_K < size_K
        share = left // int(open_K.sum())
        if share == 0:
            first = np.lexsort((priority_K, ~open_K))[:left]
            quota_K[first] += 1
            return quota_K
        more_K = np.where(open_K, np.minimum(size_K - quota_K, share), 0)
        quota_K, left = quota_K + more_K, left - int(more_K.sum())
    return quota_K
