"""A region with another compression history than the rest, as a pasted or retouched patch has.

[1] Farid, 2009, "Exposing digital forgeries from JPEG ghosts"
"""

from __future__ import annotations

import numpy as np

from continual_df.forgeries.blending import composite, jitter, soften
from continual_df.forgeries.lastmile import decode, encode
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class DoubleJPEGLocal:
    """Compress the inner face at quality 8..30 on a grid that is off by 0..7 pixels, leave the rest as it is [1]."""

    name = "double_jpeg_local"
    family: Family = "edit"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        size = min(face.shape[:2])
        quality = int(rng.integers(8, 30, endpoint=True))
        down, right = (int(value) for value in rng.integers(0, 8, 2))
        shifted = np.pad(face, ((down, 0), (right, 0), (0, 0)), mode="edge")
        compressed = decode(encode(shifted, quality))[down:, right:]
        border = float(rng.uniform(0.005, 0.02)) * size
        region = jitter(scene.geometry.face(face.shape), 0.04 * size, rng)
        image, mask = composite(face, compressed, soften(region, border))
        return Forgery(image, mask, {"quality": quality, "grid": [down, right]})
