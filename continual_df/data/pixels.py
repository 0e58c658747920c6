"""From an image file, however odd or broken, to 8-bit pixels.

Every kind of file has one outcome, whatever its name ends in: the content decides.

| file | outcome |
|---|---|
| PNG, JPEG (MPO too), WebP, GIF, BMP, TIFF, PPM/PGM, JPEG 2000, AVIF | read |
| any other format, among them EPS, PDF and SVG, which are programs | refused |
| missing, broken link, loop of links, not permitted | refused, with the system's reason |
| folder, pipe, socket, device | refused before it is opened, so that nothing waits |
| empty, truncated, damaged | refused: no half picture, no grey bottom |
| more than `MAX_PIXELS` pixels or `MAX_BYTES` bytes, a TIFF tile of that size | refused before pixels are decoded |
| progressive JPEG of more than `MAX_SCANS` scans | refused: a small file would take minutes |
| grey, 1 bit, palette, YCbCr, CMYK, LAB | converted to RGB (or grey); colour profiles are not applied |
| 16 bits a channel | the high byte of each value; nothing is clipped or stretched (12 bits: the high 8) |
| 32-bit and signed integers, floats | refused: their range is not known |
| transparency (RGBA, LA, palette, key colour) | dropped, the stored colours stay, as with ``cv2.imread`` |
| animated or with several pages (GIF, WebP, APNG, TIFF) | the first frame |
| EXIF orientation | applied, as ``cv2.imread`` does (but in TIFF): pixels come upright, and masks are drawn in the upright frame |
| EXIF that cannot be read | passed over: pixels as they are stored |

Refused is `UnreadableImageError`, with path and reason. Pillow's warnings are switched off: what they tell of has its
outcome above. At most about 16 bytes a pixel are held, 1 GB at the limit.
"""

from __future__ import annotations

import stat
import struct
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from continual_df.errors import UnreadableImageError

Channels = Literal[1, 3]

MAX_PIXELS = 1 << 26
"""Largest image: 8192 x 8192 pixels. Below 89 million, from where on Pillow only warns."""

MAX_BYTES = 1 << 29
"""Largest file; some decoders read all of it into memory first."""

MAX_SCANS = 100
"""Most scans of a progressive JPEG; encoders write about ten."""

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,  # Pillow's word for a wrong header
    TypeError,  # a TIFF whose size is a float
    RuntimeError,  # AVIF
    EOFError,
    MemoryError,
    ArithmeticError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged bytes, as fuzzing them showed, and what its issues tell of."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION, _BITS_PER_SAMPLE, _TILE_WIDTH, _TILE_LENGTH = 274, 258, 322, 323

# for all threads and workers: warnings.catch_warnings is not safe among the threads that decode
warnings.filterwarnings("ignore", module=r"PIL\.")


def read_pixels(path: Path, channels: Channels = 3) -> NDArray[np.uint8]:
    """Return the image at ``path`` upright, (H, W, 3) RGB or (H, W, 1) grey.

    Raises:
        UnreadableImageError: If the file is refused by the module's table.
    """
    try:
        _refuse_file(path)
        with Image.open(path) as image:
            _refuse_content(image, path)
            image.load()
            pixels = np.array(_eight_bits_upright(image, channels), dtype=np.uint8)
            return pixels if pixels.ndim == 3 else pixels[..., None]
    except _BROKEN as error:
        raise UnreadableImageError(f"'{path}' cannot be read as an image: {_reason(error)}.") from None


def _refuse_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder, a pipe or a device, not a file")
    if status.st_size == 0:
        raise ValueError("the file is empty")
    if status.st_size > MAX_BYTES:
        raise ValueError(f"its {status.st_size} bytes are more than the {MAX_BYTES} allowed")


def _refuse_content(image: Image.Image, path: Path) -> None:
    """Refuse by the header what must not be decoded."""
    if image.format not in FORMATS:
        raise ValueError(f"the format {image.format} is not read, only {', '.join(FORMATS)}")
    width, height = image.size
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0)
    if width * height > MAX_PIXELS:
        raise ValueError(f"its {width} x {height} pixels are more than the {MAX_PIXELS} allowed")
    if tile > MAX_PIXELS:
        raise ValueError(f"its tiles of {tile} pixels are larger than the {MAX_PIXELS} allowed")
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError("its pixels are floats or 32-bit integers of unknown range; save it with 8 or 16 bits")
    if image.info.get("progressive"):
        scans = path.read_bytes().count(b"\xff\xda")
        if scans > MAX_SCANS:
            raise ValueError(f"its {scans} progressive scans are more than the {MAX_SCANS} allowed")


def _eight_bits_upright(image: Image.Image, channels: Channels) -> Image.Image:
    """Return the loaded ``image`` upright as RGB or L."""
    orientation = _orientation(image)
    if image.mode.startswith("I"):  # Pillow's own conversion clips at 255
        bits = tags[0] if (tags := getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)) else 16
        eight = Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    else:
        image.info.pop("transparency", None)  # else Pillow picks a key colour's neighbour, and warns
        eight = image
    if eight.mode not in ("1", "L", "LA", "RGB"):
        eight = eight.convert("RGB")
    wanted = "RGB" if channels == 3 else "L"
    eight = eight if eight.mode == wanted else eight.convert(wanted)
    return eight.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else eight


def _orientation(image: Image.Image) -> int:
    """Return the loaded ``image``'s EXIF orientation, 1 where there is none; TIFF and AVIF have applied theirs."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _BROKEN:
        return 1


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, Image.DecompressionBombError):
        return f"its pixels are more than the {MAX_PIXELS} allowed"
    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known format"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
