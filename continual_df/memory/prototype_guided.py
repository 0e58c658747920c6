"""Rows around several prototypes of each domain (prototype-guided replay)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.memory.k_means import k_means
from continual_df.memory.per_domain import select_per_domain

if TYPE_CHECKING:
    from continual_df.memory.candidates import Candidates


def select_prototype_guided(feature_ND: Tensor, budget: int, num_prototypes: int, seed: int) -> Tensor:
    """Return min(budget, N) positions: of each of the k-means clusters the row nearest to its centroid, then the next of each, ...

    What a small cluster cannot fill goes to the others; of one rank, nearer rows come first.

    Args:
        feature_ND: Features; only their directions count.
        budget: Number of rows.
        num_prototypes: Number of clusters.
        seed: Of `k_means`.
    """
    centroid_KD, cluster_N = k_means(feature_ND, num_prototypes, seed)
    distance_N = (F.normalize(feature_ND, dim=1) - centroid_KD[cluster_N]).norm(dim=1).numpy()
    order = np.lexsort((distance_N, cluster_N.numpy()))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.concatenate([np.arange(size) for size in np.bincount(cluster_N.numpy())])
    return torch.from_numpy(np.lexsort((distance_N, rank))[:budget])


class PrototypeGuided:
    """The selection rule of `select_prototype_guided`, in each domain.

    In the spirit of the replay of DMP (Dynamic Mixed-Prototype, 2024, ACM Multimedia), whose formulas are not published.

    Args:
        num_prototypes: Clusters of each domain, at least 1.
    """

    needs = frozenset({"feature_ND"})

    def __init__(self, num_prototypes: int = 4) -> None:
        if num_prototypes < 1:
            raise ValueError(f"num_prototypes must be at least 1, got {num_prototypes}")
        self.num_prototypes = num_prototypes

    def __call__(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        """Return the positions of min(budget, N) candidates."""
        return select_per_domain(self._select_domain, candidates, budget, seed)

    def _select_domain(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
        order = candidates.rows.sample.argsort()  # the first seed of k-means is a place among the rows
        return order[select_prototype_guided(candidates.given("feature_ND")[order], budget, self.num_prototypes, seed)]
