"""Hard and central: half of the rows by prediction entropy, half by their nearness to the centroid (DFIL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from continual_df.memory.centroid import centroid_distance
from continual_df.memory.hard import hardest_first
from continual_df.memory.per_domain import per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain("feature_ND", "fake_logit_N")
def select_hard_central(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return of each domain the hardest rows (half of ``budget``, rounded up), then the most central of the others.

    The memory of DFIL (Pan et al., 2023, arXiv:2309.09526), and the "centre + hard" that SUR-LID compares itself with
    (Cheng et al., 2024, arXiv:2411.11396). Differs from DFIL's code: a row that is hard and central counts once, and
    another takes the free place. Differs from SUR-LID's code: its hard rows are those of highest P(fake), which among
    fakes are the easiest.
    """
    hard = hardest_first(candidates.given("fake_logit_N"))[: budget - budget // 2]
    central = centroid_distance(candidates.given("feature_ND")).sort(stable=True).indices
    others = central[~torch.isin(central, hard)]
    return torch.cat([hard, others[: budget // 2]])
