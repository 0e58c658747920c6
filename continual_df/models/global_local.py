"""What CPL puts on a detector: logits and features of the whole image, and features of its parts."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from continual_df.models.bn_neck import BNNeck
from continual_df.models.cosine_head import CosineHead
from continual_df.models.detector import Features
from continual_df.models.growing_head import GrowingHead
from continual_df.models.local_pool import LocalBranch


class GlobalLocal(NamedTuple):
    """What a `GlobalLocalHead` sees in B images.

    Attributes:
        logit_BK: Logits of all heads.
        global_BD: Normalised features of whole images.
        local_BPD: Features of P^2 places; without gradient.
    """

    logit_BK: Tensor
    global_BD: Tensor
    local_BPD: Tensor


class GlobalLocalHead(nn.Module):
    """A BNNeck and a classifier without bias on the pooled features, and a `LocalBranch` on the map.

    Sun et al., 2023, arXiv:2309.11132.

    Args:
        num_features: Length of the detector's pooled features.
        num_heads: Number K of heads: known classes, then free clusters.
        patches: Places along each side of the map.
        dropout: On the features that are classified, in [0, 1).
        cosine: Scale of a `CosineHead`; the classifier is linear if none is given.
        num_channels: Channels of the detector's map, where it is not as wide as the pooled features.
    """

    def __init__(
        self,
        num_features: int,
        num_heads: int,
        patches: int = 3,
        dropout: float = 0.2,
        cosine: float | None = None,
        num_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.neck = BNNeck(num_features)
        self.local = LocalBranch(num_channels or num_features, patches)
        self.dropout = nn.Dropout(dropout)
        self.classifier = (
            GrowingHead(num_features, num_heads) if cosine is None else CosineHead(num_features, num_heads, cosine)
        )

    def grow(self, num: int) -> None:
        """Add ``num`` heads after the others, which stay as they are."""
        self.classifier.grow(num)

    def forward(self, features: Features) -> GlobalLocal:
        """Return logits and features of images by what the detector sees in them."""
        global_BD = self.neck(features.pooled_BD)
        return GlobalLocal(self.classifier(self.dropout(global_BD)), global_BD, self.local(features.map_BDHW))
