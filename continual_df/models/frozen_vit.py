"""A ViT that does not learn: the ground on which prompts and adapters stand."""

from __future__ import annotations

from timm.models import VisionTransformer

from continual_df.errors import ConfigError
from continual_df.models.detector import Detector, TimmDetector


class FrozenViT(Detector):
    """A timm ViT without gradients, its backbone in evaluation mode; a subclass adds what learns.

    Args:
        detector: The ViT; frozen in place.
        method: Name of the method that needs it.

    Raises:
        ConfigError: If the detector is anything else.
    """

    def __init__(self, detector: Detector, method: str) -> None:
        super().__init__()
        if not isinstance(detector, TimmDetector) or not isinstance(detector.backbone, VisionTransformer):
            inside = (
                f" with the backbone {type(detector.backbone).__name__}" if isinstance(detector, TimmDetector) else ""
            )
            raise ConfigError(
                f"{method} needs a timm ViT, and model.init_args.detector is a {type(detector).__name__}{inside}: use "
                "TimmDetector with a VisionTransformer, e.g. backbone: vit_base_patch16_224."
            )
        self.vit = detector.requires_grad_(False)
        self.num_features, self.pretrain_flops = detector.num_features, detector.pretrain_flops

    def train(self, mode: bool = True) -> FrozenViT:
        """Set the mode of what learns; statistics and dropout of the backbone stay as in evaluation."""
        super().train(mode)
        self.vit.backbone.eval()
        return self
