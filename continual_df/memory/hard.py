"""Hard: the rows that the detector is least sure of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from continual_df.memory.per_domain import per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


@per_domain("fake_logit_N")
def select_hard(candidates: Candidates, budget: int, seed: int) -> Tensor:
    """Return the ``budget`` rows of highest prediction entropy of each domain."""
    return hardest_first(candidates.given("fake_logit_N"))[:budget]


def hardest_first(fake_logit_N: Tensor) -> Tensor:
    """Return the positions by falling entropy of P(fake) = sigmoid(z).

    That entropy falls strictly with |z|, and float32 rounds it to 0 from |z| of about 100 on, so |z| itself is sorted.
    """
    return fake_logit_N.abs().sort(stable=True).indices
