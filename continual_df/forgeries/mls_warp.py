"""Expression change by moving least squares.

[1] Schaefer et al., 2006, "Image deformation using moving least squares"
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from continual_df.forgeries.blending import composite, soften, warp
from continual_df.forgeries.geometry import Plane
from continual_df.forgeries.operator import Family, Forgery, Image, Scene

STEP = 4
"""The deformation is solved at every fourth pixel and interpolated."""


class MLSWarp:
    """Move eyes, nose tip and mouth by 8..18 % of the eye distance, the outline of the face held still [1]."""

    name = "mls_warp"
    family: Family = "reenactment"
    needs_donor = False

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``."""
        geometry, shape = scene.geometry, face.shape
        unit = geometry.eye_distance(shape)
        points = geometry.points(shape)
        mouth = points[3:].mean(0)
        lips = np.array([0, 0.14 * unit])
        handles = np.vstack([points, mouth + lips, mouth - lips])
        direction = rng.uniform(0, 2 * np.pi, len(handles))
        length = rng.uniform(0.08, 0.18, len(handles)) * unit
        moves = length[:, None] * np.stack([np.cos(direction), np.sin(direction)], 1)
        anchors = geometry.outline(shape)
        at = np.vstack([handles, anchors])
        to = np.vstack([handles + moves, anchors])
        displacement = affine_mls(to, at, shape)  # backward: where the pixel at `to` comes from
        region = soften(geometry.face(shape), 0.12 * unit)
        warped = warp(face, displacement * region[..., None])
        image, mask = composite(face, warped, np.where(region > 0, 1, 0).astype(np.float32))
        return Forgery(image, mask, {"moves": np.round(moves, 3).tolist()})


def affine_mls(points: npt.NDArray[np.float64], targets: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Plane:
    """Return the affine moving-least-squares displacement that takes ``points`` to ``targets``.

    At v, with weights w_i = 1 / |p_i - v|^4, the affine map is the weighted least-squares fit of q on p.

    Args:
        points: (P, 2), x and y in pixels.
        targets: (P, 2).
        shape: Height and width of the plane.

    Returns:
        Displacement, float32, (H, W, 2).
    """
    height, width = shape[:2]
    rows, columns = np.linspace(0, height - 1, -(-height // STEP) + 1), np.linspace(0, width - 1, -(-width // STEP) + 1)
    grid = np.stack(np.meshgrid(columns, rows), -1)[..., None, :]  # (h, w, 1, 2)
    weight = 1 / (((points - grid) ** 2).sum(-1) + 1e-3) ** 2
    weight /= weight.sum(-1, keepdims=True)
    mean_p, mean_q = weight @ points, weight @ targets
    p, q = points - mean_p[..., None, :], targets - mean_q[..., None, :]
    left = np.einsum("hwk,hwki,hwkj->hwij", weight, p, p) + 1e-6 * np.eye(2)
    right = np.einsum("hwk,hwki,hwkj->hwij", weight, p, q)
    linear = np.linalg.solve(left, right)
    moved = np.einsum("hwi,hwij->hwj", grid[..., 0, :] - mean_p, linear) + mean_q
    coarse = (moved - grid[..., 0, :]).astype(np.float32)
    # remap instead of resize: the coarse nodes sit on the corner pixels
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x *= (len(columns) - 1) / (width - 1)
    y *= (len(rows) - 1) / (height - 1)
    return np.asarray(cv2.remap(coarse, x, y, cv2.INTER_LINEAR), np.float32)
