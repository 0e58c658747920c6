"""SimGCD: two views teach each other, more sharply than they speak."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from continual_df.losses.self_distillation import self_distillation, teacher_temperature
from continual_df.losses.view_contrast import view_contrast
from continual_df.methods.open_world import OpenWorld, Views


class SimGCD(OpenWorld):
    """SimGCD: ``loss = (1 - w) (CE + SupCon)(labelled) + w (distillation + InfoNCE + regulariser KL(mean p || prior))(all)``.

    The distillation is the cross-entropy of each view with the other one's softmax at a temperature that falls from .7 to .4 of
    the logits' own. Wen et al., 2023, arXiv:2211.11727. Differs from it: contrasts are of the normalised features, without a
    projection; trained from the same start and with the same batches as the other methods here.

    Args:
        unsupervised: The w of the formula, in [0, 1].
        warmup_epochs: Epochs in which the temperature falls.
        scale: Of the cosines that are the logits.
        regulariser: Weight of the regulariser within the unsupervised part.
        two_views: Look at two views of each image, the second one made by ``second_view`` of the stream.
        both_views: Whether the cross-entropy and the regulariser look at both.
        margin: What is added to the true logit of a labelled row.
        **kwargs: Those of `OpenWorld`.
    """

    def __init__(
        self,
        *,
        unsupervised: float = 0.65,
        warmup_epochs: int = 30,
        scale: float = 10.0,
        regulariser: float = 2.0,
        two_views: bool = True,
        both_views: bool = True,
        margin: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        if not 0 <= unsupervised <= 1:
            raise ValueError(f"unsupervised must be in [0, 1], got {unsupervised}")
        regulariser *= unsupervised
        super().__init__(
            scale=scale, regulariser=regulariser, two_views=two_views, both_views=both_views, margin=margin, **kwargs
        )
        self.supervised *= 1 - unsupervised
        self.unsupervised, self.warmup_epochs = unsupervised, warmup_epochs

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return the terms of distillation and of the two contrasts."""
        labelled_B, share = views.labelled_B, self.unsupervised
        temperature = teacher_temperature(self.current_epoch, epochs=self.warmup_epochs)
        alike = view_contrast(views.global_BD[labelled_B], views.second_BD[labelled_B], 0.07, views.class_B[labelled_B])
        return {
            "distillation": share * self_distillation(views.logit_BK, views.other_BK, temperature).mean(),
            "contrast": share * view_contrast(views.global_BD, views.second_BD, 1.0),
            "class_contrast": (1 - share) * alike,
        }
