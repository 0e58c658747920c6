"""Herding: rows whose mean feature stays close to the mean of all (iCaRL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from continual_df.memory.per_domain import per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain("feature_ND")
def select_herding(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return of each domain ``budget`` rows, each chosen so that the mean of the chosen is as close as can be to the mean.

    With features phi on the unit sphere and their mean m, the k-th row minimises |m - (phi(x) + sum of chosen) / k|: the
    largest product of phi(x) with k m - sum of chosen. That is one product with all rows a step, N D budget in all.

    Rebuffi et al., 2017, "iCaRL", arXiv:1611.07725, algorithm 4. Differs from it: where the budget is shared by all
    tasks, older rows are chosen anew with the present features, instead of keeping the first ones of their list.
    """
    feature_ND = candidates.given("feature_ND")
    norm_N = feature_ND.norm(dim=1).clamp(min=torch.finfo(feature_ND.dtype).tiny)
    mean_D = (1 / norm_N) @ feature_ND / len(feature_ND)
    taken_N = torch.zeros(len(feature_ND), dtype=torch.bool)
    wanted_D = torch.zeros_like(mean_D)
    chosen: list[int] = []
    for _ in range(min(budget, len(feature_ND))):
        wanted_D += mean_D
        gain_N = (feature_ND @ wanted_D / norm_N).masked_fill(taken_N, -torch.inf)
        best = int(gain_N.argmax())
        wanted_D -= feature_ND[best] / norm_N[best]
        taken_N[best] = True
        chosen.append(best)
    return torch.tensor(chosen, dtype=torch.long)
