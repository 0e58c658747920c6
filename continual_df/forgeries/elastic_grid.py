"""Elastic deformation of the inner face."""

from __future__ import annotations

import numpy as np

from continual_df.forgeries.blending import composite, smooth_field, soften, warp
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class ElasticGrid:
    """Bend the inner face by a random smooth field and resample it twice, as a head driven through a grid is.

    The field has 6 x 6 nodes of up to 4.5 % of the image's side; half of it is applied in each of two bilinear passes.
    """

    name = "elastic_grid"
    family: Family = "reenactment"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        amplitude = float(rng.uniform(0.025, 0.045)) * min(face.shape[:2])
        unit = scene.geometry.eye_distance(face.shape)
        soft = soften(scene.geometry.face(face.shape), 0.12 * unit)
        field = 0.5 * smooth_field(face.shape, amplitude, 6, rng) * soft[..., None]
        image, mask = composite(face, warp(warp(face, field), field), np.where(soft > 0, 1, 0).astype(np.float32))
        return Forgery(image, mask, {"amplitude": amplitude})
