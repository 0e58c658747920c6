"""Where eyes, nose and mouth are in an aligned crop, and the regions that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Point = tuple[float, float]
Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FaceGeometry:
    """Five points of a crop, as (x, y) fractions of its width and height.

    Regions are built from the distance between the eyes and the line from eyes to mouth, so another crop needs only its
    own points. A region is a plane of 0 and 1, float32, of shape (H, W).
    """

    left_eye: Point
    right_eye: Point
    nose: Point
    left_mouth: Point
    right_mouth: Point

    def points(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return the five points in pixels, shape (5, 2), order as the fields."""
        five = (self.left_eye, self.right_eye, self.nose, self.left_mouth, self.right_mouth)
        return np.array(five, np.float32) * np.array([shape[1], shape[0]], np.float32)

    def eye_distance(self, shape: tuple[int, ...]) -> float:
        """Return the distance between the eyes in pixels."""
        points = self.points(shape)
        return float(np.linalg.norm(points[1] - points[0]))

    def outline(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Return the outline of the inner face from brows to chin, shape (P, 2), pixels."""
        left, right, _, mouth_left, mouth_right = self.points(shape)
        chin = (mouth_left + mouth_right) / 2
        corners = [
            (left, (-0.42, -0.30)),
            (left, (0.05, -0.48)),
            (right, (-0.05, -0.48)),
            (right, (0.42, -0.30)),
            (right, (0.40, 0.35)),
            (mouth_right, (0.34, 0.02)),
            (chin, (0.22, 0.48)),
            (chin, (-0.22, 0.48)),
            (mouth_left, (-0.34, 0.02)),
            (left, (-0.40, 0.35)),
        ]
        at, offset = np.array([point for point, _ in corners]), np.array([step for _, step in corners], np.float32)
        return np.asarray(at + self.eye_distance(shape) * offset, np.float32)

    def face(self, shape: tuple[int, ...]) -> Plane:
        """Return the inner face."""
        plane = np.zeros(shape[:2], np.float32)
        hull = cv2.convexHull(self.outline(shape))
        cv2.fillConvexPoly(plane, np.rint(hull).astype(np.int32), 1.0)
        return plane

    def part(self, name: str, shape: tuple[int, ...]) -> Plane:
        """Return the ellipse of one part: ``left_eye``, ``right_eye``, ``nose``, ``mouth`` or ``forehead``."""
        left, right, nose, mouth_left, mouth_right = self.points(shape)
        unit = self.eye_distance(shape)
        middle, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
        half_mouth = float(np.linalg.norm(mouth_right - mouth_left)) / 2
        centre, axes = {
            "left_eye": (left, (0.34 * unit, 0.24 * unit)),
            "right_eye": (right, (0.34 * unit, 0.24 * unit)),
            "nose": (0.3 * middle + 0.7 * nose, (0.25 * unit, 0.34 * unit)),
            "mouth": (mouth, (1.3 * half_mouth, 0.28 * unit)),
            "forehead": (middle - np.array([0, 0.75 * unit]), (0.6 * unit, 0.3 * unit)),
        }[name]
        return ellipse(shape, (float(centre[0]), float(centre[1])), axes)


def ellipse(shape: tuple[int, ...], centre: Point, axes: Point, angle: float = 0.0) -> Plane:
    """Return a filled ellipse of half axes ``axes`` (pixels), turned by ``angle`` degrees."""
    plane = np.zeros(shape[:2], np.float32)
    whole = (max(1, round(axes[0])), max(1, round(axes[1])))
    cv2.ellipse(plane, (round(centre[0]), round(centre[1])), whole, angle, 0, 360, 1.0, -1)
    return plane


CANONICAL = FaceGeometry(
    left_eye=(0.379, 0.470),
    right_eye=(0.620, 0.469),
    nose=(0.500, 0.608),
    left_mouth=(0.401, 0.750),
    right_mouth=(0.601, 0.749),
)
"""DeepfakeBench's alignment: the ArcFace template at scale 1.3."""

ORL = FaceGeometry(
    left_eye=(0.305, 0.455),
    right_eye=(0.675, 0.455),
    nose=(0.490, 0.640),
    left_mouth=(0.365, 0.800),
    right_mouth=(0.615, 0.800),
)
"""The central square of the ORL faces; medians read off by eye, single photos deviate by up to 0.06."""
