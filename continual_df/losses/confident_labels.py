"""Labels that a method gives to unlabelled rows: of each head, those that it is surest of."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def confident_labels(logit_NK: Tensor, share: float) -> Tensor:
    """Return the top head of each row, (N,), or -1 for rows that are not among the surest of their head.

    Of the n rows whose top head is k, the ``ceil(share n)`` of largest softmax probability keep it; of equally sure ones, the first.
    So a head that is rarely chosen is not drowned by those that are often, and surely, chosen (as OpenLDN balances its last
    stage: Rizve et al., 2022, arXiv:2207.02261, which takes equally many of each).

    Raises:
        ValueError: If ``share`` is outside of (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    sure_N, head_N = logit_NK.double().softmax(dim=1).max(dim=1)
    label_N = torch.full_like(head_N, -1)
    for head in head_N.unique().tolist():  # type: ignore[no-untyped-call]
        own_M = (head_N == head).nonzero()[:, 0]
        order_M = sure_N[own_M].argsort(descending=True, stable=True)
        num_kept = math.ceil(round(share * len(own_M), 6))  # .1 x 30 is above 3 in floats
        label_N[own_M[order_M[:num_kept]]] = head
    return label_N
