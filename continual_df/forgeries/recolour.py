"""Attribute edit by colour: skin, lips or the area above the brows."""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import composite, jitter, soften, to_uint8
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class Recolour:
    """Shift lightness, contrast and, in colour photos, Lab chroma inside a soft region."""

    name = "recolour"
    family: Family = "edit"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``; a grey face gets a change of lightness and contrast alone."""
        size, shape = min(face.shape[:2]), face.shape
        place = str(rng.choice(["skin", "mouth", "forehead", "eyes"]))
        if place == "skin":
            region = scene.geometry.face(shape)
        elif place == "eyes":
            region = np.maximum(scene.geometry.part("left_eye", shape), scene.geometry.part("right_eye", shape))
        else:
            region = scene.geometry.part(place, shape)
        region = jitter(region, 0.02 * size, rng)
        border = float(rng.uniform(0.005, 0.025)) * size
        lightness = float(rng.choice([-1, 1]) * rng.uniform(16, 40))
        contrast = float(rng.uniform(0.6, 1.5))
        chroma = rng.uniform(-24, 24, 2)
        lab = cv2.cvtColor(face, cv2.COLOR_RGB2LAB).astype(np.float32)
        mean = lab[..., 0][region > 0.5].mean() if (region > 0.5).any() else lab[..., 0].mean()
        lab[..., 0] = (lab[..., 0] - mean) * contrast + mean + lightness
        if not (face == face[..., :1]).all():
            lab[..., 1:] += chroma
        edited = cv2.cvtColor(to_uint8(lab), cv2.COLOR_LAB2RGB)
        image, mask = composite(face, edited, soften(region, border))
        params = {"place": place, "lightness": lightness, "contrast": contrast, "chroma": chroma.tolist()}
        return Forgery(image, mask, params)
