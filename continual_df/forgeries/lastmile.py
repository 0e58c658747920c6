"""The last mile: what every image, real, forged or control, goes through before it is written.

Seeded by the source photo, so that a real and everything made from it share scale and quality; what then tells them
apart is the forgery and not the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from continual_df.forgeries.seeding import generator


@dataclass(frozen=True)
class Delivery:
    """One draw of the last mile.

    Attributes:
        size: Side of the square output in pixels.
        scale: The image is reduced to ``scale * size`` and enlarged again; 1 leaves it alone.
        quality: JPEG quality, 1..100.
    """

    size: int
    scale: float
    quality: int


@dataclass(frozen=True)
class LastMile:
    """Distribution of deliveries.

    Args:
        size: Side of the square output in pixels.
        quality: Lowest and highest JPEG quality, drawn uniformly.
        resample: Share of photos that are reduced and enlarged once.
        scale: Smallest and largest scale of that.
    """

    size: int
    quality: tuple[int, int] = (75, 95)
    resample: float = 0.5
    scale: tuple[float, float] = (0.75, 0.95)

    def draw(self, seed: int, photo: str) -> Delivery:
        """Return the delivery of ``photo`` and of everything made from it."""
        rng = generator(seed, "lastmile", photo)
        resampled = rng.random() < self.resample
        scale = float(rng.uniform(*self.scale))
        quality = int(rng.integers(self.quality[0], self.quality[1], endpoint=True))
        return Delivery(self.size, scale if resampled else 1.0, quality)


def deliver(image: npt.NDArray[np.uint8], delivery: Delivery, *, grey: bool) -> bytes:
    """Return ``image`` (RGB) resized, resampled and encoded as JPEG bytes; one channel if ``grey``."""
    image = resize(image, delivery.size)
    if delivery.scale < 1:
        image = resample(image, delivery.scale)
    return encode(image, delivery.quality, grey=grey)


def resize(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Return ``image`` as a square of side ``size``; area average when reducing, cubic when enlarging."""
    if image.shape[:2] == (size, size):
        return image
    how = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (size, size), interpolation=how), np.uint8)


def resample(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """Return ``image`` reduced by ``scale`` < 1 and enlarged to its own size."""
    height, width = image.shape[:2]
    other = (max(1, round(width * scale)), max(1, round(height * scale)))
    there = cv2.resize(image, other, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(there, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def encode(image: npt.NDArray[np.uint8], quality: int, *, grey: bool = False) -> bytes:
    """Return ``image`` (RGB) as JPEG bytes with 4:2:0 chroma."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"opencv could not encode an image of shape {image.shape} as JPEG")
    return bytes(data)


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Return JPEG bytes as RGB."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"opencv could not decode {len(data)} bytes of JPEG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
