"""Clusters of features, the same for the same seed."""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from continual_df.ledger import add_flops


def k_means(feature_ND: Tensor, num: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return centroid_KD of min(num, N) clusters of the features at unit length, and cluster_N, the cluster of each row.

    Of fewer different rows than clusters, some clusters are empty.

    Lloyd's algorithm from the seeds of k-means++ (Arthur and Vassilvitskii, 2007); its distances are charged to the ledger.

    Args:
        feature_ND: Features, N at least 1.
        num: Number of clusters.
        seed: Of the choice of seeds.
    """
    unit_ND = F.normalize(feature_ND, dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # that some are empty
        fitted = KMeans(min(num, len(unit_ND)), n_init=1, random_state=seed % 2**32).fit(unit_ND.numpy())
    add_flops(2.0 * fitted.cluster_centers_.size * len(unit_ND) * fitted.n_iter_)
    return torch.from_numpy(fitted.cluster_centers_), torch.from_numpy(fitted.labels_).long()
