"""Keep the directions in which a task learns apart from those of earlier tasks."""

from __future__ import annotations

from torch import Tensor


def orthogonality(new_RD: Tensor, earlier_ND: Tensor) -> Tensor:
    """Return the sum of squared products of every new direction with every earlier one: ||A_new A_earlier^T||_F^2.

    It is 0 where both are orthogonal, or where there is nothing earlier. Wang et al., 2023, arXiv:2310.14152 (O-LoRA).
    """
    return (new_RD @ earlier_ND.T).square().sum()
