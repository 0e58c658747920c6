"""Which other image shows the same class: nearest as a whole, and confirmed by its parts (CPL)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.candidate_pool import CandidatePool

VoteRule = Literal["value", "index", "nach", "off"]


def global_local_vote(
    global_BD: Tensor,
    local_BPD: Tensor,
    class_B: Tensor,
    rule: VoteRule = "value",
    generator: torch.Generator | None = None,
    unit_B: Tensor | None = None,
    pool: CandidatePool | None = None,
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

    Ours: with ``pool``, rows of earlier batches are candidates, too, numbered after those of the batch. A row of S_L is then over all
    of them, and a column over what the rows of the batch and j itself say of j, so that more candidates pass by value, fewer by
    index. With ``unit_B``, an unlabelled row has no candidate in its own unit, and votes by value and by index compare it with none.

    Sun et al., 2023, arXiv:2309.11132 (CPL); ``nach`` is the filter of Guo et al., 2022 (NeurIPS), as in a port by others. Differs from CPL's
    released code: a batch of any size is voted on.

    Args:
        global_BD: Features of whole images; no gradient reaches them.
        local_BPD: Features of P places of each; no gradient reaches them.
        class_B: Class of each row, -1 where it has no label.
        rule: Which of them.
        generator: What the positives of labelled rows are drawn with; torch's global one if none is given.
        unit_B: What each row belongs to, such as a video; None: each row is a unit of its own.
        pool: Rows of earlier batches.

    Raises:
        ValueError: If there is no such rule, or ``pool`` is given without ``unit_B``, or with ``nach``, which knows no labels there.
    """
    if rule not in get_args(VoteRule):
        raise ValueError(f"rule must be one of {', '.join(get_args(VoteRule))}, got '{rule}'")
    global_ND, local_NPD, unit_N = global_BD, local_BPD, unit_B
    if pool is not None:
        if unit_B is None:
            raise ValueError("a pool needs unit_B: a row is not to find its own earlier self there")
        if rule == "nach":
            raise ValueError("rule 'nach' votes within a batch: leave out the pool, or vote by value or index")
        global_ND = torch.cat([global_BD, pool.global_MD])
        local_NPD = torch.cat([local_BPD, pool.local_MPD])
        unit_N = torch.cat([unit_B, pool.unit_M])
    barred_BN = barred(len(class_B), global_BD.device, unit_N)
    similarity_BN = global_similarity(global_BD, global_ND)
    candidate_B = nearest_other(similarity_BN, barred_BN)
    if rule == "off":
        passed_B = torch.ones_like(candidate_B, dtype=torch.bool)
    elif rule == "nach":
        passed_B = _nach_vote(similarity_BN, candidate_B, class_B >= 0)
    else:
        passed_B = local_vote(local_BPD, local_NPD, candidate_B, barred_BN, rule)
    return positives(candidate_B, passed_B, class_B, generator)


def barred(num: int, device: torch.device, unit_N: Tensor | None = None) -> Tensor:
    """Return barred_BN: which of N rows each of the first ``num`` cannot be paired with: itself, and those of its unit."""
    if unit_N is None:
        return torch.eye(num, dtype=torch.bool, device=device)
    itself_BN = torch.eye(num, len(unit_N), dtype=torch.bool, device=device)
    return itself_BN | (unit_N[:num, None] == unit_N)


@torch.no_grad()
def global_similarity(global_BD: Tensor, global_ND: Tensor) -> Tensor:
    """Return similarity_BN: the cosine of each of B rows and each of N."""
    with torch.autocast(global_BD.device.type, enabled=False):  # half precision would make ties
        return F.normalize(global_BD.float(), dim=1) @ F.normalize(global_ND.float(), dim=1).T


@torch.no_grad()
def local_similarity(local_BPD: Tensor, local_NPD: Tensor, weighted: bool = True) -> Tensor:
    """Return ``S_L(i, j) = sum_p w_ip cos(f_ip, f_jp)``, (B, N): the likeness of what is at the same places, as i sees it.

    The weights are ``w_ip = |f_ip| / sqrt(sum_q |f_iq|^2)``, so that S_L is not symmetric; no other row is more like i than i.

    Args:
        local_BPD: Features f of P places of each row i.
        local_NPD: Those of each row j.
        weighted: Otherwise, all weights are 1.
    """
    with torch.autocast(local_BPD.device.type, enabled=False):
        return _as_seen_by_itself(local_BPD, weighted) @ _unit_places(local_NPD).T


def nearest_other(similarity_BN: Tensor, barred_BN: Tensor) -> Tensor:
    """Return the column of the largest entry of each row that is not barred, (B,); the row itself where all are."""
    itself_B = torch.arange(len(similarity_BN), device=similarity_BN.device)
    nearest_B = similarity_BN.masked_fill(barred_BN, -torch.inf).argmax(dim=1)
    return torch.where(barred_BN.all(dim=1), itself_B, nearest_B)


@torch.no_grad()
def local_vote(
    local_BPD: Tensor,
    local_NPD: Tensor,
    candidate_B: Tensor,
    barred_BN: Tensor,
    rule: Literal["value", "index"],
    weighted: bool = True,
) -> Tensor:
    """Return whether each row's candidate passes ``rule`` of `global_local_vote`, (B,) bool.

    Args:
        local_BPD: Features of P places of each row.
        local_NPD: Those of all rows, the B first.
        candidate_B: Which of the N is each row's candidate.
        barred_BN: Which of them it is not compared with.
        rule: Which of the rules.
        weighted: As in `local_similarity`.
    """
    similarity_BN = local_similarity(local_BPD, local_NPD, weighted)
    others_BN = similarity_BN.masked_fill(barred_BN, -torch.inf)
    best_B = others_BN.amax(dim=1)  # second in its row: no other is more like a row than the row itself
    if rule == "index":
        return similarity_BN.gather(1, candidate_B[:, None]).squeeze(1) >= best_B
    own_N = (_as_seen_by_itself(local_NPD, weighted) * _unit_places(local_NPD)).sum(dim=1)
    second_N = torch.cat([others_BN, own_N[None]]).topk(2, dim=0).values[1]
    return best_B >= second_N[candidate_B]


def _unit_places(local_NPD: Tensor) -> Tensor:
    """Return the features of each place at unit length, (N, P x D)."""
    return F.normalize(local_NPD.float(), dim=2).flatten(1)


def _as_seen_by_itself(local_NPD: Tensor, weighted: bool) -> Tensor:
    """Return the same, each place times its weight w."""
    return F.normalize(local_NPD.float().flatten(1), dim=1) if weighted else _unit_places(local_NPD)


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


def _nach_vote(similarity_BN: Tensor, candidate_B: Tensor, labelled_B: Tensor) -> Tensor:
    to_labelled_LN = similarity_BN[labelled_B]
    if len(to_labelled_LN) < 2:
        return torch.ones_like(labelled_B)
    second_N = to_labelled_LN.topk(2, dim=0).values[1]
    return similarity_BN.gather(1, candidate_B[:, None]).squeeze(1) >= second_N[candidate_B]


def _of_same_class(class_B: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return a random other row of each row's class, (B,), each at equal odds; itself where there is none."""
    device = class_B.device if generator is None else generator.device
    order_BB = torch.rand(len(class_B), len(class_B), generator=generator, device=device).to(class_B.device)
    same_BB = class_B[:, None] == class_B
    return order_BB.masked_fill(~same_BB, -1).fill_diagonal_(-0.5).argmax(dim=1)
