"""A linear head in closed form."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

PENALTIES = tuple(10.0**power for power in range(-3, 5))
"""Multiples of the mean squared length of a feature's entries, among which leave-one-out error chooses."""


class RidgeHead(nn.Module):
    """Ridge regression of +-1 on features in which each domain has the same weight; a fit is all the training it has.

    ``min_w sum_i c_i (w.x_i + b - y_i)^2 + l ||w||^2`` with c_i one over the size of row i's domain, and l of the least
    leave-one-out error. Before the first fit it is zero.

    Args:
        num_features: Length D of the features.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(1, num_features))
        self.register_buffer("bias", torch.zeros(1))

    def forget(self) -> None:
        """Be zero again, as before the first fit."""
        self.weight.zero_()
        self.bias.zero_()

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return (B, 1) values, towards 1 for fake."""
        return nn.functional.linear(feature_BD, self.weight, self.bias)

    def fit(self, feature_ND: Tensor, label_N: Tensor, domain_N: Tensor) -> None:
        """Fit anew to features of labels 0 and 1, each of a domain."""
        x, y = feature_ND.double().numpy(), 2.0 * label_N.numpy() - 1
        _, domain, size = np.unique(domain_N.numpy(), return_inverse=True, return_counts=True)
        share_N = len(x) / len(size) / size[domain]
        model = RidgeCV(alphas=np.array(PENALTIES) * np.square(x).mean()).fit(x, y, sample_weight=share_N)
        self.weight.copy_(torch.from_numpy(model.coef_).view(1, -1))
        self.bias.copy_(torch.tensor([model.intercept_]))
