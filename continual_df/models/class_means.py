"""Nearest class mean: what a few remembered images of each class are enough for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.errors import ConfigError
from continual_df.labels import REAL
from continual_df.task import Rows

FARTHEST = 4.0
"""Largest squared distance of two vectors of length 1: that to a class of which no mean is known."""


class ClassMeans(nn.Module):
    """The mean of the unit-length features of each class in each task, itself of unit length.

    Rebuffi et al., 2017, arXiv:1611.07725, algorithm 1. Differs from it: a class has one mean for each task in which it
    comes, since the reals of two tasks can be two domains.

    Attributes:
        mean_TCD: Means by task and class id; NaN where none is known.
        fitted: Number of tasks whose means are known.

    Args:
        num_features: Length D of the features.
    """

    mean_TCD: Tensor
    fitted: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean_TCD", torch.empty(0, 0, num_features))
        self.register_buffer("fitted", torch.tensor(0))

    @property
    def ready(self) -> bool:
        """Whether `fit` has been called since the last task was added."""
        return 0 < len(self.mean_TCD) == int(self.fitted)

    def grow(self, num_classes: int) -> None:
        """Add a task, and classes until there are ``num_classes``."""
        added = num_classes - self.mean_TCD.shape[1]
        self.mean_TCD = F.pad(self.mean_TCD, (0, 0, 0, added, 0, 1), value=torch.nan)

    def fit(self, feature_ND: Tensor, rows: Rows) -> None:
        """Make all means anew from the features of ``rows``.

        Raises:
            ConfigError: If there is no real or no fake among them.
        """
        if not (rows.method == REAL).any() or not (rows.method > REAL).any():
            raise ConfigError(
                "The nearest class mean needs a remembered real and fake image, and the memory holds none of one kind: "
                "raise memory.init_args.capacity, or choose by select_herding or select_class_balanced."
            )
        unit_ND = F.normalize(feature_ND, dim=1)
        mean_TCD = torch.full(self.mean_TCD.shape, torch.nan)
        for task, method in {*zip(rows.task.tolist(), rows.method.tolist(), strict=True)}:
            own_N = (rows.task == task) & (rows.method == method)
            mean_TCD[task, method] = F.normalize(unit_ND[own_N].mean(dim=0), dim=0)
        self.mean_TCD.copy_(mean_TCD)
        self.fitted.fill_(len(mean_TCD))

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return ``-min_t |z - mean_tc|^2`` (B, C) by class id, in [-4, 0]; z are the features at unit length."""
        unit_BD = F.normalize(feature_BD, dim=1)
        square_BTC = 2 - 2 * torch.einsum("bd,tcd->btc", unit_BD, self.mean_TCD.to(unit_BD.dtype))
        return -square_BTC.nan_to_num(FARTHEST).amin(dim=1)

    def directions(self) -> Tensor:
        """Return (H, D): each mean of a fake class minus the mean over those of the reals."""
        fake_HD = self.mean_TCD[:, 1:].flatten(0, 1)
        return fake_HD[~fake_HD.isnan().any(dim=1)] - self.mean_TCD[:, REAL].nanmean(dim=0)


def nearest_fake_against_real(logit_BC: Tensor) -> Tensor:
    """Return ``max_{c > 0} logit_c - logit_0`` (B,): how much nearer the nearest fake mean is than the nearest real one."""
    return logit_BC[:, 1:].amax(dim=1) - logit_BC[:, REAL]
