"""OpenLDN-like: a small network says how alike two images are, and predictions follow it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from continual_df.losses.fixed_threshold import FixedThreshold
from continual_df.losses.pair_similarity import pair_similarity
from continual_df.losses.pseudo_label import pseudo_label_loss
from continual_df.methods.open_world import OpenWorld, Views
from continual_df.models.similarity_net import SimilarityNet


class OpenLDNLike(OpenWorld):
    """``loss = CE(labelled) + pair (cos(p_i, p_j) - s_ij)^2 + pseudo CE(argmax p, p') [max p >= .5] + similarity BCE(s_ij, same class)``.

    s is a network on two images' features. After Rizve et al., 2022, arXiv:2207.02261 (OpenLDN). "Like", since s learns from pairs
    of labelled rows here; there, from the labels that a copy of the detector gets right after a step that s made it take. No
    closed-world stage follows.

    Args:
        pair: Weight of the pairs.
        pseudo: Weight of the pseudo-labels, which go from the first view to the second.
        similarity: Weight of what s learns by; no gradient of it reaches the detector.
        two_views: Look at two views of each image, the second one made by ``second_view`` of the stream.
        margin: What is added to the true logit of a labelled row.
        **kwargs: Those of `OpenWorld`.
    """

    def __init__(
        self,
        *,
        pair: float = 1.0,
        pseudo: float = 1.0,
        similarity: float = 1.0,
        two_views: bool = True,
        margin: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(two_views=two_views, margin=margin, **kwargs)
        self.pair, self.pseudo, self.similarity = pair, pseudo, similarity
        self.similarity_net = SimilarityNet(self.detector.num_features)
        self.labeller = FixedThreshold(0.5)

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return the terms of pairs, pseudo-labels and the network."""
        labelled_B = views.labelled_B
        logit_BB = self.similarity_net(views.global_BD.detach()).float()
        logit_LL = logit_BB[labelled_B][:, labelled_B]
        class_L = views.class_B[labelled_B]
        same_LL = (class_L[:, None] == class_L).to(logit_LL)
        logit_UK, other_UK = views.logit_BK[~labelled_B], views.other_BK[~labelled_B]
        pseudo_U = pseudo_label_loss(other_UK, self.labeller(logit_UK))
        similarity = F.binary_cross_entropy_with_logits(logit_LL, same_LL, reduction="sum")
        return {
            "pair": self.pair * pair_similarity(views.logit_BK, logit_BB.detach().sigmoid()).mean(),
            "pseudo": self.pseudo * pseudo_U.sum() / max(len(pseudo_U), 1),
            "similarity": self.similarity * similarity / max(same_LL.numel(), 1),
        }
