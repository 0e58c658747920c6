"""A head whose outputs are class ids: real, then every forgery method in the order in which it came."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from continual_df.models.addressed_linear import addressed_linear


class ClassHead(nn.Module):
    """A linear layer that grows: one output for each class id so far; what older ones have learnt stays as it is.

    Args:
        num_features: Length D of the pooled vector.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features, self.num_classes = num_features, 0
        self.seed = torch.initial_seed()
        self.parts = nn.ModuleList()

    def grow(self, num_classes: int) -> None:
        """Add outputs, on the device of the others, until there are ``num_classes``."""
        added = num_classes - self.num_classes
        if added > 0:
            part = addressed_linear(self.num_features, added, self.seed, self.num_classes)
            self.parts.append(part.to(next(self.parameters(), torch.empty(0)).device))
            self.num_classes = num_classes

    @property
    def sizes(self) -> list[int]:
        """Numbers of outputs that were added, in their order."""
        return [part.out_features for part in self.parts if isinstance(part, nn.Linear)]

    @property
    def weight_CD(self) -> Tensor:
        """Weights of all outputs, by class id."""
        return torch.cat([part.weight for part in self.parts])  # type: ignore[misc]

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return logit_BC, by class id."""
        return torch.cat([part(feature_BD) for part in self.parts], dim=1)


def fake_against_real(logit_BC: Tensor) -> Tensor:
    """Return ``log sum_{c > 0} exp(logit_c) - logit_0`` (B,): the logit of P(fake) of a softmax over class ids."""
    return logit_BC[:, 1:].logsumexp(dim=1) - logit_BC[:, 0]
