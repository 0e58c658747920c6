"""Soft masks, compositing and colour matching that the local operators share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from continual_df.forgeries.geometry import Plane

FLOOR = 1 / 16
"""Soft masks fall to 0 here, so that the mask is where the change is and not the Gaussian's invisible tail."""


def soften(region: Plane, sigma: float) -> Plane:
    """Return ``region`` with a Gaussian border of ``sigma`` pixels, eroded first so that it does not grow."""
    if sigma < 0.3:
        return region
    radius = max(1, round(sigma))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    inner = cv2.erode(region, kernel, borderType=cv2.BORDER_REPLICATE)
    if inner.max() < 1:
        inner = region
    soft = cv2.GaussianBlur(inner, (0, 0), sigma)
    return np.asarray(np.maximum(soft - FLOOR, 0) / (1 - FLOOR), np.float32)


def jitter(region: Plane, amplitude: float, rng: np.random.Generator) -> Plane:
    """Return ``region`` with an outline bent by up to ``amplitude`` pixels."""
    return np.asarray(warp(region, smooth_field(region.shape, amplitude, 4, rng)), np.float32)


def composite(
    face: npt.NDArray[np.uint8], altered: npt.NDArray[np.generic], soft: Plane
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Blend ``altered`` into ``face`` by ``soft`` in [0, 1]; return the image and its mask {0, 255}.

    Pixels outside the mask are the face's own.
    """
    weight = np.clip(soft, 0, 1)[..., None]
    mixed = weight * altered.astype(np.float32) + (1 - weight) * face
    return to_uint8(mixed), np.where(weight[..., 0] > 0, 255, 0).astype(np.uint8)


def to_uint8(image: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Round and clip to uint8."""
    return np.clip(np.rint(image.astype(np.float32)), 0, 255).astype(np.uint8)


def smooth_field(shape: tuple[int, ...], amplitude: float, cells: int, rng: np.random.Generator) -> Plane:
    """Return a random displacement (H, W, 2) in pixels, cubic between ``cells`` x ``cells`` nodes of +-amplitude."""
    nodes = rng.uniform(-amplitude, amplitude, (cells, cells, 2)).astype(np.float32)
    return np.asarray(cv2.resize(nodes, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.float32)


def warp(image: npt.NDArray[Any], displacement: Plane) -> npt.NDArray[Any]:
    """Return ``image`` sampled bilinearly at each pixel plus ``displacement`` (H, W, 2), in pixels."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return np.asarray(
        cv2.remap(
            image,
            columns + displacement[..., 0],
            rows + displacement[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    )


def similarity(
    image: npt.NDArray[np.uint8], rng: np.random.Generator, shift: float, turn: float, scale: float
) -> npt.NDArray[np.uint8]:
    """Return ``image`` moved by up to ``shift`` of its side, turned by ``turn`` degrees, scaled by 1 +- ``scale``."""
    height, width = image.shape[:2]
    angle, zoom = rng.uniform(-turn, turn), 1 + rng.uniform(-scale, scale)
    offset = rng.uniform(-shift, shift, 2) * (width, height)
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), angle, zoom) + np.array(
        [[0, 0, offset[0]], [0, 0, offset[1]]]
    )
    moved = cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def match_colour(image: npt.NDArray[np.uint8], like: npt.NDArray[np.uint8], region: Plane) -> npt.NDArray[np.uint8]:
    """Return ``image`` with mean and deviation of each Lab channel in ``region`` set to those of ``like`` (Reinhard)."""
    inside = region > 0.5
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    target = cv2.cvtColor(like, cv2.COLOR_RGB2LAB).astype(np.float32)
    mean, deviation = lab[inside].mean(0), lab[inside].std(0)
    gain = np.clip(target[inside].std(0) / np.maximum(deviation, 1e-3), 0.5, 2.0)
    matched = to_uint8((lab - mean) * gain + target[inside].mean(0))
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2RGB), np.uint8)


def add_texture(
    image: npt.NDArray[np.generic], like: npt.NDArray[np.uint8], rng: np.random.Generator, sigma: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return ``image`` plus grey noise for half of the fine-detail energy of ``like`` that it lacks.

    Detail is what a Gaussian of ``sigma`` pixels removes; its energy is local, averaged over 4 ``sigma``. Without this a smooth
    reconstruction is told from a photo by its sharpness alone.
    """
    smooth, photo = image.astype(np.float32), like.astype(np.float32)

    def energy(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        detail = (x - cv2.GaussianBlur(x, (0, 0), sigma)).mean(2)
        return np.asarray(cv2.GaussianBlur(detail**2, (0, 0), 4 * sigma), np.float32)

    noise = rng.standard_normal(smooth.shape[:2]).astype(np.float32)
    noise -= cv2.GaussianBlur(noise, (0, 0), sigma)
    noise /= noise.std()
    missing = 0.7 * np.sqrt(np.maximum(energy(photo) - energy(smooth), 0))  # the rest is edges, not grain
    return np.asarray(smooth + (missing * noise)[..., None], np.float32)
