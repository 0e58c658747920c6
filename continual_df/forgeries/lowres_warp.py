"""Face-warping artefacts: the resolution of the face disagrees with its surroundings.

[1] Li and Lyu, 2019, arXiv:1811.00656 (FWA)
"""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import composite, jitter, soften
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class LowresWarp:
    """Reduce the face to 0.3..0.65 of its size, turn it slightly, blur, and warp it back inside a bent hull [1]."""

    name = "lowres_warp"
    family: Family = "swap"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        height, width = face.shape[:2]
        scale, angle = float(rng.uniform(0.3, 0.65)), float(rng.uniform(-12, 12))
        there = scale * cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)  # pixel -> reduced pixel
        small_size = (max(8, round(width * scale)), max(8, round(height * scale)))
        smooth = cv2.GaussianBlur(face, (0, 0), 0.4 / scale)  # against aliasing
        small = cv2.warpAffine(smooth, there, small_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        back = cv2.warpAffine(
            small,
            there,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        size = min(height, width)
        region = jitter(scene.geometry.face(face.shape), 0.04 * size, rng)
        border = float(rng.uniform(0.01, 0.04)) * size
        image, mask = composite(face, back, soften(region, border))
        return Forgery(image, mask, {"scale": scale, "angle": angle, "border": border})
