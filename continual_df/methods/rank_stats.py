"""RankStats: unlabelled images are alike if the same features are the strongest in both."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from continual_df.losses.rank_statistics import pairwise_cross_entropy, same_top_features
from continual_df.methods.open_world import OpenWorld, Views


class RankStats(OpenWorld):
    """RankStats: ``loss = CE(labelled) + pair BCE(<p_i, p'_j>, same top features)(unlabelled) + ramp(e) consistency |p - p'|^2``.

    ``ramp(e) = exp(-5 (1 - e / ramp_epochs)^2)`` up to ``ramp_epochs``. Han et al., 2020, arXiv:2002.05714. Differs from it:
    one head for known and unknown classes, so that unlabelled images of known classes have a place; the regulariser of `OpenWorld`;
    no stage of self-supervision before.

    Args:
        top: Features that must be the same.
        pair: Weight of the pairs.
        consistency: Weight of the consistency of both views when the ramp has ended.
        ramp_epochs: Length of the ramp.
        two_views: Look at two views of each image, the second one made by ``second_view`` of the stream.
        margin: What is added to the true logit of a labelled row.
        **kwargs: Those of `OpenWorld`.
    """

    def __init__(
        self,
        *,
        top: int = 5,
        pair: float = 1.0,
        consistency: float = 5.0,
        ramp_epochs: int = 50,
        two_views: bool = True,
        margin: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(two_views=two_views, margin=margin, **kwargs)
        self.top, self.pair, self.consistency, self.ramp_epochs = top, pair, consistency, ramp_epochs

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return the terms of pairs and consistency."""
        unlabelled_B = ~views.labelled_B
        distance_BK = views.logit_BK.softmax(dim=1) - views.other_BK.softmax(dim=1)
        ramp = math.exp(-5 * (1 - min(self.current_epoch / max(self.ramp_epochs, 1), 1)) ** 2)
        terms = {"consistency": self.consistency * ramp * distance_BK.square().mean()}
        if unlabelled_B.any():
            same_UU = same_top_features(views.global_BD[unlabelled_B], self.top)
            loss = pairwise_cross_entropy(views.logit_BK[unlabelled_B], views.other_BK[unlabelled_B], same_UU)
            terms["pair"] = self.pair * loss
        return terms
