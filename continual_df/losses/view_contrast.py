"""Contrast of two views: rows near their other view, or near both views of their class (GCD)."""

from __future__ import annotations

import torch
from torch import Tensor

from continual_df.losses.isolation import IsolationLoss


def view_contrast(feature_BD: Tensor, other_BD: Tensor, temperature: float, class_B: Tensor | None = None) -> Tensor:
    """Return the contrastive loss of 2B features, a scalar: InfoNCE, or where classes are given the supervised one.

    It is `IsolationLoss` over the rows of both views. Without classes, the only positive of a row is its other view.

    Vaze et al., 2022, arXiv:2201.02609 (GCD: temperatures 1 and, with classes, 0.07).

    Args:
        feature_BD: Features of one view.
        other_BD: Features of the same rows in the other view.
        temperature: Positive.
        class_B: Class of each row.
    """
    row_B = torch.arange(len(feature_BD), device=feature_BD.device) if class_B is None else class_B
    with torch.autocast(feature_BD.device.type, enabled=False):
        return IsolationLoss(temperature)(torch.cat([feature_BD, other_BD]).float(), row_B.repeat(2))  # type: ignore[no-any-return]
