"""Which other image of the batch shows the same class: nearest as a whole, and confirmed by its parts (CPL)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

VoteRule = Literal["value", "index", "nach", "off"]


def global_local_vote(
    global_BD: Tensor,
    local_BPD: Tensor,
    class_B: Tensor,
    rule: VoteRule = "value",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return positive_B, the row that each row is paired with, and accepted_B, whether its candidate passed the vote.

    A labelled row is paired with a random other row of its class, or with itself if it is alone; it is accepted. The candidate
    j of an unlabelled row i is its nearest other row in the whole batch by the cosine S_G of global features. It becomes the
    positive if the vote passes; otherwise, that is i itself. With S_L of `local_similarity`, ``second`` the second largest of a
    row or column, and ties passing:

    - ``value``: ``second S_L(i, .) >= second S_L(., j)``, as released. It need not be that j is i's best local partner;
    - ``index``: j is i's best local partner, as the paper draws it;
    - ``nach``: ``S_G(i, j) >= second S_G(j, labelled)``, which takes any j where less than two rows are labelled;
    - ``off``: always.

    Sun et al., 2023, arXiv:2309.11132 (CPL); ``nach`` is the filter of Guo et al., 2022 (NeurIPS), as in a port by others. Differs from CPL's
    released code: a batch of any size is voted on.

    Args:
        global_BD: Features of whole images; no gradient reaches them.
        local_BPD: Features of P places of each; no gradient reaches them.
        class_B: Class of each row, -1 where it has no label.
        rule: Which of them.
        generator: What the positives of labelled rows are drawn with; torch's global one if none is given.

    Raises:
        ValueError: If there is no such rule.
    """
    if rule not in get_args(VoteRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(VoteRule))}, got '{rule}'")
    similarity_BB = global_similarity(global_BD)
    candidate_B = nearest_other(similarity_BB)
    if rule == "off":
        passed_B = torch.ones_like(candidate_B, dtype=torch.bool)
    elif rule == "nach":
        passed_B = _nach_vote(similarity_BB, candidate_B, class_B >= 0)
    else:
        passed_B = local_vote(local_similarity(local_BPD), candidate_B, rule)
    return positives(candidate_B, passed_B, class_B, generator)


@torch.no_grad()
def global_similarity(global_BD: Tensor) -> Tensor:
    """Return similarity_BB: the cosine of any two rows."""
    with torch.autocast(global_BD.device.type, enabled=False):  # half precision would make ties
        unit_BD = F.normalize(global_BD.float(), dim=1)
        return unit_BD @ unit_BD.T


@torch.no_grad()
def local_similarity(local_BPD: Tensor, weighted: bool = True) -> Tensor:
    """Return ``S_L(i, j) = sum_p w_ip cos(f_ip, f_jp)``, (B, B): the likeness of what is at the same places, as i sees it.

    The weights are ``w_ip = |f_ip| / sqrt(sum_q |f_iq|^2)``, so that S_L is not symmetric; no other row is more like i than i.

    Args:
        local_BPD: Features f of P places of each row.
        weighted: Otherwise, all weights are 1.
    """
    with torch.autocast(local_BPD.device.type, enabled=False):
        local_BPD = local_BPD.float()
        unit_BN = F.normalize(local_BPD, dim=2).flatten(1)
        own_BN = F.normalize(local_BPD.flatten(1), dim=1) if weighted else unit_BN  # w_ip times the unit vector
        return own_BN @ unit_BN.T


def nearest_other(similarity_BB: Tensor) -> Tensor:
    """Return the column of the largest entry of each row off the diagonal, (B,); a single row is its own."""
    return _without_self(similarity_BB).argmax(dim=1)


def local_vote(similarity_BB: Tensor, candidate_B: Tensor, rule: Literal["value", "index"]) -> Tensor:
    """Return whether each row's candidate passes ``rule`` of `global_local_vote`, (B,) bool."""
    if rule == "index":
        best_B = _without_self(similarity_BB).amax(dim=1)
        return similarity_BB.gather(1, candidate_B[:, None]).squeeze(1) >= best_B
    rank = min(2, len(similarity_BB))
    row_B = similarity_BB.topk(rank, dim=1).values[:, -1]
    column_B = similarity_BB.topk(rank, dim=0).values[-1]
    return row_B >= column_B[candidate_B]


def positives(
    candidate_B: Tensor, passed_B: Tensor, class_B: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return positive_B and accepted_B of `global_local_vote`, from the candidates and votes of all rows."""
    itself_B = torch.arange(len(class_B), device=class_B.device)
    accepted_B = accepted(candidate_B, passed_B, class_B)
    voted_B = torch.where(accepted_B, candidate_B, itself_B)
    return torch.where(class_B >= 0, _of_same_class(class_B, generator), voted_B), accepted_B


def accepted(candidate_B: Tensor, passed_B: Tensor, class_B: Tensor) -> Tensor:
    """Return accepted_B: labelled rows, and those whose candidate passed; a single row has no candidate."""
    itself_B = torch.arange(len(class_B), device=class_B.device)
    return (class_B >= 0) | (passed_B & (candidate_B != itself_B))


def _nach_vote(similarity_BB: Tensor, candidate_B: Tensor, labelled_B: Tensor) -> Tensor:
    to_labelled_BL = similarity_BB[:, labelled_B]
    if to_labelled_BL.shape[1] < 2:
        return torch.ones_like(labelled_B)
    second_B = to_labelled_BL.topk(2, dim=1).values[:, 1]
    return similarity_BB.gather(1, candidate_B[:, None]).squeeze(1) >= second_B[candidate_B]


def _of_same_class(class_B: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a random other row of each row's class, (B,), each at equal odds; itself where there is none."""
    device = class_B.device if generator is None else generator.device
    order_BB = torch.rand(len(class_B), len(class_B), generator=generator, device=device).to(class_B.device)
    same_BB = class_B[:, None] == class_B
    return order_BB.masked_fill(~same_BB, -1).fill_diagonal_(-0.5).argmax(dim=1)


def _without_self(similarity_BB: Tensor) -> Tensor:
    return similarity_BB.clone().fill_diagonal_(-torch.inf)
