"""Face swap by gradient-domain cloning.

[1] Perez et al., 2003, "Poisson image editing"
"""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import jitter, match_colour, similarity
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class PoissonSwap:
    """Fit the donor's inner face into the target by a similarity and solve for its gradients [1]; colours bleed in."""

    name = "poisson_swap"
    family: Family = "swap"
    needs_donor = True

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face`` with ``scene.donor``; one in four keeps the stronger gradient of the two (mixed cloning)."""
        if scene.donor is None:
            raise ValueError("poisson_swap needs a donor face, got None")
        mixed = bool(rng.random() < 0.25)
        region = jitter(scene.geometry.face(face.shape), 0.03 * min(face.shape[:2]), rng)
        donor = match_colour(similarity(scene.donor, rng, 0.02, 5, 0.06), face, region)
        mask = np.where(region > 0.5, 255, 0).astype(np.uint8)
        mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0  # the solver needs a border of target pixels
        left, top, width, height = cv2.boundingRect(mask)
        cloned = cv2.seamlessClone(
            donor,
            face,
            mask.copy(),  # opencv writes into it
            (left + width // 2, top + height // 2),
            cv2.MIXED_CLONE if mixed else cv2.NORMAL_CLONE,
        )
        image = np.where(mask[..., None] > 0, cloned, face).astype(np.uint8)
        return Forgery(image, mask, {"mixed": mixed})
