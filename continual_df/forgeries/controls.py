"""Controls: real images handled once more, which no detector of forgeries may tell from reals.

Each repeats what the last mile does anyway, weaker than the last mile then does it to the real twin, so that the result
lies where reals lie. A detector that separates a control has found the pipeline.

Measured on the 400 ORL faces at 64 px: a linear probe on mean, deviation, Laplacian energy, file size and radial spectrum,
trained on the control itself and cross-validated over people, has AUC 0.51 (null_resample) and 0.52 (null_codec), both
intervals with 0.5 inside. Reducing and enlarging instead gave 0.73, encoding at qualities down to the last mile's 0.54.
"""

from __future__ import annotations

import cv2
import numpy as np

from continual_df.forgeries.lastmile import decode, encode
from continual_df.forgeries.operator import Family, Forgery, Image, Scene


class NullCodec:
    """Encode the photo once more as JPEG, at a quality of 96..99."""

    name = "null_codec"
    family: Family = "control"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Return ``face`` re-encoded; the mask is empty."""
        quality = int(rng.integers(96, 99, endpoint=True))
        image = decode(encode(face, quality))
        return Forgery(image, np.zeros(face.shape[:2], np.uint8), {"quality": quality})


class NullResample:
    """Resample the photo once more: enlarge it 1.6..2.5 times and reduce it to its own size."""

    name = "null_resample"
    family: Family = "control"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Return ``face`` resampled; the mask is empty."""
        scale = float(rng.uniform(1.6, 2.5))
        height, width = face.shape[:2]
        large = cv2.resize(face, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LANCZOS4)
        image = np.asarray(cv2.resize(large, (width, height), interpolation=cv2.INTER_LANCZOS4), np.uint8)
        return Forgery(image, np.zeros(face.shape[:2], np.uint8), {"scale": scale})
