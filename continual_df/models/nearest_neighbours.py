"""How well features tell classes apart without any training: k-nearest-neighbour classification, through faiss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.models.vector_search import exact_search


def neighbour_accuracy(
    feature_ND: Tensor, class_N: Tensor, query_MD: Tensor, class_M: Tensor, num_neighbours: int = 5
) -> float:
    """Return the share of queries whose class is that of most of their nearest neighbours by cosine similarity.

    Equal counts are decided by the sum of the similarities.

    Args:
        feature_ND: Features with a class, float32 on the CPU.
        class_N: Their classes, long, at least 0.
        query_MD: Features to classify.
        class_M: Their classes.
        num_neighbours: Neighbours that vote; all, where there are fewer.
    """
    similarity_Mk, place_Mk = exact_search(
        F.normalize(feature_ND, dim=1), F.normalize(query_MD, dim=1), min(num_neighbours, len(feature_ND))
    )
    num_classes = int(max(class_N.max(), class_M.max())) + 1
    vote_MC = torch.zeros(len(query_MD), num_classes)
    # similarities lie in [-1, 1]: k votes and their sum cannot overturn a majority of one
    weight_Mk = 1 + similarity_Mk / (2 * similarity_Mk.shape[1] + 1)
    vote_MC.scatter_add_(1, class_N[place_Mk], weight_Mk)
    return float((vote_MC.argmax(dim=1) == class_M).float().mean())
