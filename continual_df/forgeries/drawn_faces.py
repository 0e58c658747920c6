"""Drawn faces: vector-drawn heads with identity, pose, light, skin, sensor noise and JPEG; unlimited in number.

They stand in for photos where the number of images matters and not what is on them.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from continual_df.forgeries.blending import smooth_field, to_uint8, warp
from continual_df.forgeries.geometry import CANONICAL
from continual_df.forgeries.lastmile import decode, encode
from continual_df.forgeries.operator import Image
from continual_df.forgeries.seeding import generator

CANVAS = 256
SHIFT = 4
"""Fractional bits of opencv's drawing coordinates."""
Canvas = npt.NDArray[np.float32]
Colour = npt.NDArray[np.float64]


def draw_face(seed: int, person: int, shot: int, size: int) -> Image:
    """Return a drawn face with the canonical five points, RGB, uint8, (size, size, 3).

    Shape, skin, hair, eyes, nose, mouth and glasses depend on ``(seed, person)``; pose, expression, light, background,
    noise and JPEG quality on ``shot`` too.
    """
    who, when = generator(seed, "person", str(person)), generator(seed, "shot", str(person), str(shot))
    canvas = _background(when)
    _head(canvas, who, when)
    canvas = _light(_skin_texture(canvas, who), when)
    angle, zoom = when.normal(0, 4), when.uniform(0.96, 1.05)
    pose = cv2.getRotationMatrix2D((CANVAS / 2, CANVAS / 2), angle, zoom)
    shift = when.normal(0, 3, 2)
    pose = pose + np.array([[0, when.normal(0, 0.04), shift[0]], [0, 0, shift[1]]])  # the shear stands in for yaw
    posed = cv2.warpAffine(canvas, pose, (CANVAS, CANVAS), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    small = cv2.resize(posed, (size, size), interpolation=cv2.INTER_AREA if size < CANVAS else cv2.INTER_CUBIC)
    noisy = small + when.normal(0, when.uniform(1.5, 4), small.shape) * np.sqrt(np.clip(small, 8, 255) / 128)
    return decode(encode(to_uint8(noisy), int(when.integers(88, 98))))


def _background(when: np.random.Generator) -> Canvas:
    base = when.uniform(40, 200, 3)
    colours = (base + when.normal(0, 18, (3, 3, 3))).astype(np.float32)
    return np.asarray(cv2.resize(colours, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC), np.float32)


def _oval(
    canvas: Canvas, centre: tuple[float, float], axes: tuple[float, float], colour: Colour, angle: float = 0
) -> None:
    one = 1 << SHIFT
    cv2.ellipse(
        canvas,
        (round(centre[0] * one), round(centre[1] * one)),
        (max(1, round(axes[0] * one)), max(1, round(axes[1] * one))),
        angle,
        0,
        360,
        [float(value) for value in colour],
        -1,
        cv2.LINE_8,
        SHIFT,
    )


def _curve(canvas: Canvas, points: npt.NDArray[np.float64], colour: Colour, width: int) -> None:
    """Draw the quadratic curve through three control points, (3, 2)."""
    t = np.linspace(0, 1, 24)[:, None]
    line = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
    fixed = np.rint(line * (1 << SHIFT)).astype(np.int32)[:, None]
    cv2.polylines(canvas, [fixed], False, [float(value) for value in colour], max(1, width), cv2.LINE_8, SHIFT)


def _head(canvas: Canvas, who: np.random.Generator, when: np.random.Generator) -> None:
    """Draw neck, hair, head, eyes, brows, nose, mouth and, on one person in five, glasses."""
    left, right, nose, mouth_left, mouth_right = CANONICAL.points(canvas.shape).astype(np.float64)
    middle, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    tone = who.uniform(0, 1)
    skin = (1 - tone) * np.array([236, 200, 178]) + tone * np.array([96, 62, 46]) + who.normal(0, 6, 3)
    hair = (np.array([30, 22, 18]) + who.uniform(0, 1) ** 2 * np.array([190, 150, 90])) * who.uniform(0.7, 1.1)
    iris = np.array([[70, 45, 25], [60, 90, 130], [70, 100, 70], [50, 40, 35]])[who.integers(4)]
    lips = 0.72 * skin + np.array([40, -12, -8]) * who.uniform(0.5, 1.5)
    width, jaw, top = who.uniform(68, 84), who.uniform(80, 98), who.uniform(66, 86)
    spread, opening, eye_width = who.normal(0, 4), who.uniform(6, 10), who.uniform(13, 18)
    brow_height, brow_tilt, brow_width = who.uniform(15, 23), who.normal(0, 4), int(who.integers(3, 8))
    nose_width, lip_height = who.uniform(9, 17), who.uniform(4, 9)
    fringe, long_hair, bald = who.uniform(0.35, 0.8), who.random() < 0.4, who.random() < 0.12
    glasses, beard = who.random() < 0.2, who.random() < 0.2
    smile, open_mouth, gaze = when.normal(2, 4), max(0.0, when.normal(0, 4)), when.normal(0, 2, 2)
    centre = (float(middle[0]), 138.0)
    if long_hair and not bald:
        _oval(canvas, (centre[0], 150), (width + 24, 122), hair)
    _oval(canvas, (centre[0], 262), (width * 0.55, 60), 0.86 * skin)
    _oval(canvas, (centre[0], 340), (128, 90), when.uniform(20, 220, 3))
    if not bald:
        _oval(canvas, (centre[0], 108), (width + 10, top + 14), hair)
    for side in (-1, 1):
        _oval(canvas, (centre[0] + side * width, 138), (9, 20), 0.9 * skin)
    _oval(canvas, centre, (width, jaw), skin)
    if not bald:
        _oval(canvas, (centre[0] + who.normal(0, 14), 138 - jaw + 8), (width * 0.92, 46 * fringe), hair)
    if beard:
        _oval(canvas, (centre[0], mouth[1] + 8), (width * 0.7, 36), 0.55 * skin + 0.35 * hair)
    for side, eye in ((-1, left), (1, right)):
        at = (float(eye[0] + side * spread), float(eye[1]))
        _oval(canvas, at, (eye_width + 3, opening + 4), 0.84 * skin)
        _oval(canvas, at, (eye_width, opening), np.array([232, 228, 222]))
        pupil = (at[0] + float(gaze[0]), at[1] + 0.4 * float(gaze[1]))
        _oval(canvas, pupil, (opening * 0.85, opening * 0.85), iris)
        _oval(canvas, pupil, (opening * 0.4, opening * 0.4), np.array([12, 10, 10]))
        _oval(canvas, (pupil[0] - 2, pupil[1] - 2), (1.6, 1.6), np.array([250, 250, 250]))
        brow = np.array([[-17, brow_tilt * 0.4], [0, -6], [17, -brow_tilt * 0.4]]) * (side, 1)
        _curve(canvas, brow + np.array([at[0], at[1] - brow_height]), 0.6 * hair + 0.2 * skin, brow_width)
        if glasses:
            ring = (round(at[0]), round(at[1]))
            cv2.ellipse(canvas, ring, (24, 19), 0, 0, 360, (35.0, 30.0, 30.0), 3, cv2.LINE_8)
    if glasses:
        cv2.line(
            canvas,
            (round(left[0] + 20), round(left[1])),
            (round(right[0] - 20), round(right[1])),
            (35.0, 30.0, 30.0),
            3,
        )
    bridge = np.array(
        [[middle[0] + 5, middle[1] + 6], [nose[0] + 9, nose[1] - 14], [nose[0] + nose_width * 0.6, nose[1]]]
    )
    _curve(canvas, bridge, 0.84 * skin, 3)
    for side in (-1, 1):
        _oval(canvas, (nose[0] + side * nose_width * 0.55, nose[1] + 3), (3.4, 2.2), 0.5 * skin)
    corner = np.array([[mouth_left[0], mouth[1]], [mouth[0], mouth[1] + smile], [mouth_right[0], mouth[1]]])
    _oval(canvas, (mouth[0], mouth[1] + smile / 2), (25, lip_height + open_mouth), lips)
    if open_mouth > 2:
        _oval(canvas, (mouth[0], mouth[1] + smile / 2), (17, open_mouth), np.array([60, 22, 22]))
    _curve(canvas, corner, 0.5 * lips, 3)


def _skin_texture(canvas: Canvas, who: np.random.Generator) -> Canvas:
    """Bend the drawing a little and give it pores: noise at two scales."""
    bent = warp(canvas, smooth_field(canvas.shape, 3.0, 5, who)).astype(np.float32)
    soft = cv2.GaussianBlur(bent, (0, 0), 1.0)
    pores = cv2.GaussianBlur(who.standard_normal(canvas.shape[:2]).astype(np.float32), (0, 0), 1.2)
    blotches = cv2.GaussianBlur(who.standard_normal(canvas.shape[:2]).astype(np.float32), (0, 0), 9)
    return np.asarray(soft * (1 + 0.10 * pores + 0.5 * blotches)[..., None], np.float32)


def _light(canvas: Canvas, when: np.random.Generator) -> Canvas:
    """Shade along a random direction and round off towards the sides of the head."""
    y, x = (np.mgrid[:CANVAS, :CANVAS].astype(np.float32) - CANVAS / 2) / (CANVAS / 2)
    angle, strength = when.uniform(0, 2 * np.pi), when.uniform(0.05, 0.35)
    shade = 1 + strength * (np.cos(angle) * x + np.sin(angle) * y) - 0.22 * (x**2 + 0.6 * y**2)
    colour = when.uniform(0.94, 1.06, 3) * when.uniform(0.75, 1.15)
    return np.asarray(np.clip(canvas * shade[..., None] * colour, 0, 255), np.float32)
