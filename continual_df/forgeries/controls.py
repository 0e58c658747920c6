"""Controls: real images handled once more, which no detector of forgeries may tell from reals.

Each repeats what the last mile does anyway, never stronger than the last mile then does it to the real twin, so that
the result lies where reals lie. A detector that separates a control has found the pipeline.
"""

from __future__ import annotations

import numpy as np

from continual_df.forgeries.lastmile import decode, encode, resample
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class NullCodec:
    """Encode the photo once more, at a quality between the last mile's (plus 3) and 98."""

    name = "null_codec"
    family: Family = "control"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Return ``face`` re-encoded; the mask is empty."""
        lowest = min(scene.delivery.quality + 3, 98)
        quality = int(rng.integers(lowest, 98, endpoint=True))
        image = decode(encode(face, quality))
        return Forgery(image, np.zeros(face.shape[:2], np.uint8), {"quality": quality})


class NullResample:
    """Resample the photo once more: to a scale between the last mile's and 1.3, and back."""

    name = "null_resample"
    family: Family = "control"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Return ``face`` resampled; the mask is empty."""
        scale = float(rng.uniform(scene.delivery.scale, 1.3))
        return Forgery(resample(face, scale), np.zeros(face.shape[:2], np.uint8), {"scale": scale})
