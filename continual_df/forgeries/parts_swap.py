"""Swap of single parts of the face.

[1] Chen et al., 2022, arXiv:2203.12208 (SLADD)
"""

from __future__ import annotations

import numpy as np

from continual_df.forgeries.blending import composite, match_colour, similarity, smooth_field, soften, warp
from continual_df.forgeries.operator import Family, Forgery, Image, Scene

CHOICES = (
    ("left_eye", "right_eye"),
    ("nose",),
    ("mouth",),
    ("nose", "mouth"),
    ("left_eye", "right_eye", "mouth"),
    ("left_eye", "right_eye", "nose"),
)


class PartsSwap:
    """Paste one or more of the donor's eyes, nose and mouth, slightly bent and matched in colour [1]."""

    name = "parts_swap"
    family: Family = "swap"
    needs_donor = True

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face`` with parts of ``scene.donor``."""
        if scene.donor is None:
            raise ValueError("parts_swap needs a donor face, got None")
        size = min(face.shape[:2])
        parts = CHOICES[int(rng.integers(len(CHOICES)))]
        region = np.max([scene.geometry.part(part, face.shape) for part in parts], axis=0)
        donor = match_colour(similarity(scene.donor, rng, 0.02, 5, 0.06), face, region)
        bent = warp(donor, smooth_field(face.shape, 0.015 * size, 5, rng))
        border = float(rng.uniform(0.004, 0.02)) * size
        image, mask = composite(face, bent, soften(region, border))
        return Forgery(image, mask, {"parts": list(parts), "border": border})
