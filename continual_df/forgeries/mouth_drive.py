"""Mouth opened or closed, as in lip synchronisation."""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import composite, soften, warp
from continual_df.forgeries.geometry import ellipse
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class MouthDrive:
    """Scale the mouth vertically by 0.6..0.8 or 1.3..1.7 inside a feathered ellipse; a wide one may show a dark gap."""

    name = "mouth_drive"
    family: Family = "reenactment"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        shape = face.shape
        points = scene.geometry.points(shape)
        unit = scene.geometry.eye_distance(shape)
        centre = points[3:].mean(0) + rng.uniform(-0.02, 0.02, 2) * unit
        half = 0.5 * float(np.linalg.norm(points[4] - points[3]))
        opens = bool(rng.random() < 0.6)
        scale = float(rng.uniform(1.3, 1.7) if opens else rng.uniform(0.6, 0.8))
        region = ellipse(shape, (float(centre[0]), float(centre[1])), (1.6 * half, 0.46 * unit))
        soft = soften(region, 0.08 * unit)
        rows = np.mgrid[: shape[0], : shape[1]][0].astype(np.float32) - np.float32(centre[1])
        displacement = np.zeros((*shape[:2], 2), np.float32)
        displacement[..., 1] = (1 / scale - 1) * rows * soft
        moved = warp(face, displacement).astype(np.float32)
        gap = bool(opens and rng.random() < 0.5)
        if gap:
            lips = ellipse(shape, (float(centre[0]), float(centre[1])), (0.6 * half, (scale - 1) * 0.11 * unit))
            dark = cv2.GaussianBlur(lips, (0, 0), max(0.5, 0.02 * unit))[..., None]
            moved = moved * (1 - 0.5 * dark)
        image, mask = composite(face, moved, np.where(soft > 0, 1, 0).astype(np.float32))
        return Forgery(image, mask, {"scale": scale, "gap": gap})
