"""Removal of something on the face by classical inpainting.

[1] Telea, 2004, "An image inpainting technique based on the fast marching method"
[2] Bertalmio et al., 2001, "Navier-Stokes, fluid dynamics, and image and video inpainting"
"""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import composite
from continual_df.forgeries.geometry import ellipse
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class Inpaint:
    """Fill one to three elliptic holes in the inner face by Telea [1] or Navier-Stokes [2]."""

    name = "inpaint"
    family: Family = "edit"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        unit = scene.geometry.eye_distance(face.shape)
        rows, columns = np.nonzero(scene.geometry.face(face.shape))
        count = int(rng.integers(1, 4))
        holes = np.zeros(face.shape[:2], np.float32)
        for _ in range(count):
            at = int(rng.integers(len(rows)))
            axes = rng.uniform(0.2, 0.42, 2) * unit
            spot = (float(columns[at]), float(rows[at]))
            holes = np.maximum(holes, ellipse(face.shape, spot, (axes[0], axes[1]), float(rng.uniform(0, 180))))
        telea = bool(rng.random() < 0.5)
        radius = max(2.0, float(rng.uniform(0.04, 0.12)) * unit)
        algorithm = cv2.INPAINT_TELEA if telea else cv2.INPAINT_NS
        filled = cv2.inpaint(face, holes.astype(np.uint8), radius, algorithm)
        image, mask = composite(face, filled, holes)
        return Forgery(image, mask, {"holes": count, "algorithm": "telea" if telea else "ns", "radius": radius})
