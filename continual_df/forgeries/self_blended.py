"""Self-blended images: a face blended into itself after a mild change of its statistics.

[1] Shiohara and Yamasaki, 2022, arXiv:2204.08376
"""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.blending import composite, jitter, soften, to_uint8
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class SelfBlended:
    """Blend a face with a recoloured, resharpened and shifted copy of itself inside a soft hull [1].

    Differs from [1]: the hull comes from five canonical points, and its outline is bent by a smooth field.
    """

    name = "self_blended"
    family: Family = "swap"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``; the blend ratio is 0.5, 0.75 or, half of the time, 1."""
        size = min(face.shape[:2])
        source = _recolour(face, rng)
        sharpness = str(rng.choice(["reduce", "sharpen"]))
        if sharpness == "reduce":
            factor = float(rng.uniform(1.5, 2.5))
            small = cv2.resize(source, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
            source = np.asarray(cv2.resize(small, face.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        else:
            factor = float(rng.uniform(0.6, 1.2))
            blurred = cv2.GaussianBlur(source, (0, 0), 1.0).astype(np.float32)
            source = to_uint8(source + factor * (source - blurred))
        shift = rng.uniform(-1, 1, 2) * size * (0.03, 0.015)
        scale = float(rng.uniform(0.95, 1 / 0.95))
        affine = cv2.getRotationMatrix2D((face.shape[1] / 2, face.shape[0] / 2), 0, scale)
        affine[:, 2] += shift
        source = np.asarray(
            cv2.warpAffine(source, affine, face.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        )
        region = jitter(scene.geometry.face(face.shape), 0.04 * size, rng)
        border = float(rng.uniform(0.01, 0.05)) * size
        ratio = float(rng.choice([0.5, 0.75, 1.0, 1.0]))
        image, mask = composite(face, source, ratio * soften(region, border))
        return Forgery(image, mask, {"sharpness": sharpness, "factor": factor, "border": border, "ratio": ratio})


def _recolour(face: Image, rng: np.random.Generator) -> Image:
    """Shift channels by up to 20 levels and scale contrast by up to 15 %; the same for all channels of a grey face."""
    common, own = rng.uniform(-15, 15), rng.uniform(-8, 8, 3)
    gain = rng.uniform(0.85, 1.15)
    grey = bool((face == face[..., :1]).all())
    shifted = (face.astype(np.float32) - 128) * gain + 128 + common + (0 if grey else own)
    return to_uint8(shifted)
