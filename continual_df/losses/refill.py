"""Distribution re-filling: features between those of a few remembered images."""

from __future__ import annotations

import torch
from torch import Tensor


def refill(feature_RD: Tensor, domain_R: Tensor, centroid_RD: Tensor) -> Tensor:
    """Return one feature for each row, drawn from the triangle of itself, another row of its domain and their centroid.

    ``b (a f1 + (1 - a) f2) + (1 - b) c`` with a and b uniform in [0, 1]; f2 is a row of f1's domain drawn with replacement, so
    that a domain of one row is filled towards its centroid. Draws come from torch's global generator.

    Cheng et al., 2025, arXiv:2411.11396; the ranges of a and b are ours.

    Args:
        feature_RD: Features f1 of replayed rows.
        domain_R: Their domains.
        centroid_RD: Centroid c of each row's domain.
    """
    if not len(feature_RD):
        return feature_RD
    same_RR = (domain_R[:, None] == domain_R).float()
    partner_R = torch.multinomial(same_RR, 1).squeeze(1)
    a_R1, b_R1 = torch.rand(2, len(feature_RD), 1, device=feature_RD.device).to(feature_RD.dtype)
    between_RD = a_R1 * feature_RD + (1 - a_R1) * feature_RD[partner_R]
    filled_RD: Tensor = b_R1 * between_RD + (1 - b_R1) * centroid_RD
    return filled_RD


def refill_released(feature_RD: Tensor, domain_R: Tensor, centroid_RD: Tensor) -> Tensor:
    """Return what SUR-LID's released code puts in place of the features of each domain: one of three, at equal odds.

    One random row becomes the mean of all; each row becomes its midpoint with the next; or each becomes ``a f + (1 - a) c``, a
    uniform in [0.5, 1]. Differs from it: any number of rows, where the code is wired to three.
    """
    filled_RD = feature_RD.clone()
    for domain in sorted(set(domain_R.tolist())):
        rows = (domain_R == domain).nonzero().squeeze(1)
        own_ND, kind = feature_RD[rows], int(torch.randint(3, ()))
        if kind == 0:
            rows, own_ND = rows[torch.randint(len(rows), (1,))], own_ND.mean(dim=0, keepdim=True)
        elif kind == 1:
            own_ND = (own_ND + own_ND.roll(-1, dims=0)) / 2
        else:
            a_N1 = 1 - torch.rand(len(rows), 1, device=own_ND.device).to(own_ND.dtype) / 2
            own_ND = a_N1 * own_ND + (1 - a_N1) * centroid_RD[rows]
        filled_RD = filled_RD.index_copy(0, rows, own_ND)
    return filled_RD
