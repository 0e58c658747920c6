"""Sparse uniform replay (SUR): few rows that cover a domain evenly, by magnitude and by angle.

Cheng et al., 2024, "Stacking Brick by Brick: Aligned Feature Isolation for Incremental Face Forgery Detection",
arXiv:2411.11396.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.memory.centroid import centroid_distance
from continual_df.memory.grid_shuffle import grid_shuffle
from continual_df.memory.per_domain import select_per_domain
from continual_df.randomness import priority

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates

Variant = Literal["paper", "released"]

RATE = 0.1
"""Weight of each new feature in the centroid of the released code."""


def select_sparse_uniform(feature_ND: Tensor, shuffled_ND: Tensor, budget: int, variant: Variant = "paper") -> Tensor:
    """Return min(budget, N) positions of one domain, innermost first: in each segment its most stable row and a far one.

    The rows are sorted by magnitude and cut into ceil(budget / 2) segments, the whole list, their sizes differing by at
    most one. Of each come the row of highest stability and, of the others, the one of least cosine to it. An odd budget
    takes the most stable row alone of the innermost segment, whose rows differ least.

    paper: magnitude is the L2 distance to the mean, stability the cosine between a feature and that of the shuffled image.
    released: magnitude is the product with a moving average of the features in row order, c <- (1 - a) c + a f with
    a = 0.1, falling; stability is the product of a feature with the shuffled one.

    Differs from the released code in both variants: there the rows beyond ``budget / 2`` segments of floor(2 N / budget)
    are never seen, and the budget is of each class where that of its other rules is of both.

    Args:
        feature_ND: Features of one domain: real or fake of one task.
        shuffled_ND: Features of the same images with shuffled cells.
        budget: Number of rows, at least 1.
        variant: ``paper`` or ``released``.
    """
    _check(variant)
    arrival_N = torch.arange(len(feature_ND))
    return _select(feature_ND, _stability(feature_ND, shuffled_ND, variant), arrival_N, budget, variant)


class SparseUniform:
    """The selection rule of SUR: `select_sparse_uniform` in each domain.

    Stability is computed as the features of the shuffled images come in, so that those are never held. The released
    variant takes the rows in a random order, as its loader gives them.

    Args:
        variant: ``paper`` or ``released``.
        cells: Cells a side of the shuffled grid.
        seed: Seed of the shuffled cells; write ``${seed_everything}`` in the YAML.
    """

    needs = frozenset({"feature_ND", "stability_N"})

    def __init__(self, variant: Variant = "paper", cells: int = 2, seed: int = 0) -> None:
        _check(variant)
        if cells < 2:
            raise ValueError(f"cells must be at least 2, got {cells}")
        self.variant, self.cells, self.seed = variant, cells, seed

    def view(self, image_BCHW: Tensor, sample_B: Tensor) -> Tensor:
        """Return the images with shuffled cells."""
        return grid_shuffle(image_BCHW, sample_B, self.cells, self.seed)

    def stability(self, feature_ND: Tensor, shuffled_ND: Tensor) -> Tensor:
        """Return (N,) how little a feature changes with the shuffle."""
        return _stability(feature_ND, shuffled_ND, self.variant)

    def __call__(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        """Return the positions of min(budget, N) candidates."""
        return select_per_domain(self._select_domain, candidates, budget, seed)

    def _select_domain(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        key_N = torch.from_numpy(priority(seed, candidates.rows.sample.numpy()).argsort(kind="stable"))
        arrival_N = key_N.argsort()
        given = candidates.given
        return _select(given("feature_ND"), given("stability_N"), arrival_N, budget, self.variant)


def _check(variant: str) -> None:
    if variant not in get_args(Variant):
        raise ValueError(f"variant must be one of {', '.join(get_args(Variant))}, got {variant!r}")


def _stability(feature_ND: Tensor, shuffled_ND: Tensor, variant: Variant) -> Tensor:
    if variant == "paper":
        return F.cosine_similarity(feature_ND, shuffled_ND, dim=1)
    return torch.einsum("nd,nd->n", feature_ND, shuffled_ND)


def _innermost_first(feature_ND: Tensor, arrival_N: Tensor, variant: Variant) -> Tensor:
    """Return the positions in the order of their magnitude; ``arrival_N`` is when a row comes into the average."""
    if variant == "paper":
        return centroid_distance(feature_ND).sort(stable=True).indices
    later_N = len(feature_ND) - 1 - arrival_N.to(feature_ND.dtype)
    weight_N = RATE * (1 - RATE) ** later_N
    weight_N[arrival_N == 0] /= RATE  # the average begins as the first feature
    return (feature_ND @ (weight_N @ feature_ND)).sort(stable=True, descending=True).indices


def _select(feature_ND: Tensor, stability_N: Tensor, arrival_N: Tensor, budget: int, variant: Variant) -> Tensor:
    if len(feature_ND) <= budget:
        return torch.arange(len(feature_ND))
    order_N = _innermost_first(feature_ND, arrival_N, variant)
    chosen: list[Tensor] = []
    for number, segment in enumerate(order_N.tensor_split((budget + 1) // 2)):  # N > budget: two rows in each, or more
        stable = stability_N[segment].argmax()
        chosen.append(segment[stable])
        if number > 0 or budget % 2 == 0:
            cosine = F.cosine_similarity(feature_ND[segment], feature_ND[segment[stable]].unsqueeze(0), dim=1)
            cosine[stable] = torch.inf
            chosen.append(segment[cosine.argmin()])
    return torch.stack(chosen)
