"""Which task an image is from: the one that has the nearest key."""

from __future__ import annotations

import numpy as np
import threadpoolctl
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn


class DomainKeys(nn.Module):
    """K keys a task: the K-means centres of its L2-normalised features.

    Args:
        num_keys: Keys K of a task.
        num_features: Length D of a feature.
    """

    key_TKD: Tensor

    def __init__(self, num_keys: int, num_features: int) -> None:
        super().__init__()
        self.register_buffer("key_TKD", torch.empty(0, num_keys, num_features))

    def grow(self) -> None:
        """Add the keys of the next task, at infinity until they are fitted."""
        new_1KD = self.key_TKD.new_full((1, *self.key_TKD.shape[1:]), torch.inf)
        self.key_TKD = torch.cat([self.key_TKD, new_1KD])

    def fit(self, feature_ND: Tensor) -> None:
        """Fit the keys of the newest task; where it has less than K different features, some keys are equal."""
        unit_ND = F.normalize(feature_ND.float(), dim=1).numpy()
        num_keys = self.key_TKD.shape[1]
        num_centres = min(num_keys, len(np.unique(unit_ND, axis=0)))
        with threadpoolctl.threadpool_limits(1):  # several threads would add up in any order, and round differently
            fitted = KMeans(num_centres, n_init=10, random_state=0).fit(unit_ND)
        centre_KD = torch.from_numpy(fitted.cluster_centers_)[torch.arange(num_keys) % num_centres]
        self.key_TKD[-1] = centre_KD.to(self.key_TKD)

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return the task of the nearest key (B,); until the newest task has its keys, every image is taken to be its."""
        num_tasks, num_keys, _ = self.key_TKD.shape
        unit_BD = F.normalize(feature_BD.float(), dim=1)
        # by differences: the products that are faster make infinity minus infinity of keys that are not fitted
        exact = "donot_use_mm_for_euclid_dist"
        distance_BN = torch.cdist(unit_BD, self.key_TKD.flatten(0, 1), compute_mode=exact)
        nearest_B = distance_BN.argmin(dim=1) // num_keys
        return torch.where(self.key_TKD[-1].isinf().any(), num_tasks - 1, nearest_B)
