"""Synthesis from principal components, patch by patch.

[1] Turk and Pentland, 1991, "Eigenfaces for recognition"
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from continual_df.forgeries.blending import add_texture, to_uint8
from continual_df.forgeries.operator import Family, Forgery, Image, Scene

PATCH, STEP = 8, 4
PATCHES = 20_000
"""Patches that the components are computed from."""


class PCAReconstruction:
    """Rebuild overlapping patches from a few principal components of the training reals' patches, then add grain.

    Differs from eigenfaces [1]: patches of 8 x 8 pixels instead of whole faces, because a few hundred faces do not span
    the face of another person. Keeps 8..20 of 192 components and perturbs their coefficients by 10 %.
    """

    name = "pca_reconstruction"
    family: Family = "synthesis"
    needs_donor = False

    def __init__(self) -> None:
        self._mean: npt.NDArray[np.float32] | None = None
        self._components: npt.NDArray[np.float32] = np.zeros((0, 0), np.float32)

    def fit(self, reals: Image, seed: int) -> None:
        """Compute the components of patches drawn from ``reals`` (N, H, W, 3)."""
        rng = np.random.default_rng(seed)
        which = rng.integers(0, len(reals), PATCHES)
        rows = rng.integers(0, reals.shape[1] - PATCH + 1, PATCHES)
        columns = rng.integers(0, reals.shape[2] - PATCH + 1, PATCHES)
        offsets = np.arange(PATCH)
        patches = reals[which[:, None, None], rows[:, None, None] + offsets[:, None], columns[:, None, None] + offsets]
        flat = patches.reshape(PATCHES, -1).astype(np.float64)
        self._mean = flat.mean(0).astype(np.float32)
        _, vectors = np.linalg.eigh(np.cov(flat.T))  # ascending
        self._components = np.ascontiguousarray(vectors[:, ::-1].T[:32], np.float32)

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge the whole image."""
        if self._mean is None:
            raise ValueError("pca_reconstruction must be fitted on training reals before it forges")
        keep = int(rng.integers(8, 20, endpoint=True))
        height, width = face.shape[:2]
        margins = [(STEP, STEP + -side % STEP) for side in (height, width)]
        padded = np.pad(face, (*margins, (0, 0)), mode="reflect").astype(np.float32)
        views = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), (0, 1))[::STEP, ::STEP]
        grid = views.shape[:2]
        flat = views.transpose(0, 1, 3, 4, 2).reshape(-1, PATCH * PATCH * 3) - self._mean
        components = self._components[:keep]
        coefficients = flat @ components.T
        coefficients[:, 1:] *= 1 + 0.1 * rng.standard_normal((len(flat), keep - 1)).astype(np.float32)
        patches = (self._mean + coefficients @ components).reshape(*grid, PATCH, PATCH, 3)
        ramp = 1 - np.abs(np.arange(PATCH) - (PATCH - 1) / 2) / (PATCH / 2)
        window = np.outer(ramp, ramp)[..., None].astype(np.float32)
        total, weight = np.zeros_like(padded), np.zeros((*padded.shape[:2], 1), np.float32)
        for row in range(grid[0]):
            for column in range(grid[1]):
                area = np.s_[row * STEP : row * STEP + PATCH, column * STEP : column * STEP + PATCH]
                total[area] += window * patches[row, column]
                weight[area] += window
        rebuilt = (total / weight)[STEP : STEP + height, STEP : STEP + width]
        forged = to_uint8(add_texture(rebuilt, face, rng))
        return Forgery(forged, np.full(face.shape[:2], 255, np.uint8), {"components": keep})
