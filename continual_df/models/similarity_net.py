"""How alike two images are, learnt from their features (OpenLDN)."""

from __future__ import annotations

from torch import Tensor, nn


class SimilarityNet(nn.Module):
    """``v . relu(A f_i + B f_j + b) + c`` of any two rows, whose sigmoid says how alike they are: a perceptron on both features one after the other.

    Rizve et al., 2022, arXiv:2207.02261. It is not symmetric. A and B are applied to rows, not to pairs, so that no pair of
    features is ever put together.

    Args:
        num_features: Length D of a feature.
        num_hidden: Number H of hidden units.
    """

    def __init__(self, num_features: int, num_hidden: int = 100) -> None:
        super().__init__()
        self.first = nn.Linear(num_features, num_hidden)
        self.second = nn.Linear(num_features, num_hidden, bias=False)
        self.output = nn.Linear(num_hidden, 1)

    def forward(self, feature_BD: Tensor) -> Tensor:
        """Return logit_BB of row i with column j."""
        hidden_BBH = (self.first(feature_BD)[:, None] + self.second(feature_BD)).relu()
        logit_BB: Tensor = self.output(hidden_BBH).squeeze(2)
        return logit_BB
