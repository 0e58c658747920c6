"""What an operator is: a real face in, a forgery and its mask out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from continual_df.forgeries.geometry import FaceGeometry

Image = npt.NDArray[np.uint8]
Family = Literal["swap", "reenactment", "synthesis", "edit", "control"]


@dataclass(frozen=True)
class Scene:
    """What an operator may know beside the face.

    Attributes:
        geometry: Where the parts of the face are.
        donor: Face of another identity from the same split, same shape; None where the operator needs none.
    """

    geometry: FaceGeometry
    donor: Image | None = None


@dataclass(frozen=True)
class Forgery:
    """A forged image and where it was forged.

    Attributes:
        image: RGB, uint8, (H, W, 3), not yet through the last mile.
        mask: 255 where the image may differ from the real one, else 0; uint8, (H, W).
        params: What was drawn; plain JSON values.
    """

    image: Image
    mask: Image
    params: dict[str, Any] = field(default_factory=dict)


class Operator(Protocol):
    """Forges one face; draws from the generator alone, so that it repeats byte for byte."""

    name: str
    family: Family
    needs_donor: bool

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge ``face``, RGB, uint8, (H, W, 3), at least 32 x 32."""
        ...


@runtime_checkable
class FittedOperator(Operator, Protocol):
    """An operator that learns from real faces first."""

    def fit(self, reals: Image, seed: int) -> None:
        """Learn from training reals, RGB, uint8, (N, H, W, 3)."""
        ...
