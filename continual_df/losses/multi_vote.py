"""Votes on several scales and in frequency bands (MPSL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from continual_df.losses.voting import (
    accepted,
    barred,
    global_similarity,
    local_vote,
    nearest_other,
    positives,
)


class MultiVote(NamedTuple):
    """What `multi_vote` says of each row, all (B,).

    Attributes:
        positive_B: The row that each row is paired with: its candidate if both families accept it.
        both_B: Whether both families accept the candidate; True for labelled rows.
        either_B: Whether one of them does: which pseudo-labels count; True for labelled rows.
    """

    positive_B: Tensor
    both_B: Tensor
    either_B: Tensor


def multi_vote(
    global_BD: Tensor,
    scale_BPD: Sequence[Tensor],
    band_BPD: Sequence[Tensor],
    class_B: Tensor,
    rule: Literal["value", "index"] = "value",
    generator: torch.Generator | None = None,
    unit_B: Tensor | None = None,
) -> MultiVote:
    """Return the votes of two families, scales and frequency bands, on the candidates of `global_local_vote`.

    A family accepts a candidate if at least one of its maps does by ``rule``. Scales are compared by `local_similarity`, bands by
    the plain sum of cosines. A family that is given no map has no say.

    Sun et al., 2025 (MPSL, IJCV 133(2)).

    Args:
        global_BD: Features of whole images; no gradient reaches any of the features.
        scale_BPD: Features of P places of each image, one tensor a scale; P differs.
        band_BPD: Coefficients of D channels at P places of each image, one tensor a band.
        class_B: Class of each row, -1 where it has no label.
        rule: As in `global_local_vote`.
        generator: What the positives of labelled rows are drawn with; torch's global one if none is given.
        unit_B: As in `global_local_vote`.

    Raises:
        ValueError: If neither family has a map.
    """
    if not scale_BPD and not band_BPD:
        raise ValueError("multi_vote needs at least one map of scale_BPD or band_BPD, got none")
    barred_BB = barred(len(class_B), global_BD.device, unit_B)
    candidate_B = nearest_other(global_similarity(global_BD, global_BD), barred_BB)
    families = [
        [local_vote(map_BPD, map_BPD, candidate_B, barred_BB, rule, weighted) for map_BPD in maps]
        for maps, weighted in ((scale_BPD, True), (band_BPD, False))
        if maps
    ]
    votes_FB = torch.stack([torch.stack(family).any(dim=0) for family in families])
    positive_B, both_B = positives(candidate_B, votes_FB.all(dim=0), class_B, generator)
    return MultiVote(positive_B, both_B, accepted(candidate_B, votes_FB.any(dim=0), class_B))
