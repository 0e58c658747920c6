"""How novel an image is: the similarity to its nearest prototype, measured by what known images have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self


def novelty_of(similarity_B: Tensor, known_N: Tensor) -> Tensor:
    """Return the share of known images that are at least as similar to their nearest prototype, interpolated between them.

    ``n(s) = (|{i : s_i >= s}| + (b - s) / (b - a)) / (N + 1)``, where s lies between the neighbours ``a < s <= b`` among -1, the
    s_i and 1: so it falls with s, from 1 below all known images to 0 above them, but for rounding nowhere level. NaN stays NaN.

    Args:
        similarity_B: Similarities s to the nearest prototype, in [-1, 1].
        known_N: Those of N >= 1 images of known classes, ascending.
    """
    known, similarity = known_N.double().clamp(-1, 1), similarity_B.to(known_N).double().clamp(-1, 1)
    end = known.new_ones(1)
    padded = torch.cat([-end, known, end])
    less_B = torch.searchsorted(known, similarity)
    below_B, above_B = padded[less_B], padded[less_B + 1]
    between_B = (above_B - similarity) / (above_B - below_B).clamp(
        min=torch.finfo(known.dtype).tiny
    )  # 0 at s = a = b = -1
    return ((len(known) - less_B + between_B) / (len(known) + 1)).to(known_N.dtype)


def novelty_threshold(known_N: Tensor, false_positive_rate: float) -> float:
    """Return the least t such that at most this share of the known images has ``n > t``.

    Args:
        known_N: Similarities of N known images, ascending.
        false_positive_rate: Share of known images that may be called novel, in [1 / N, 1].

    Raises:
        ValueError: The rate is out of range; below 1 / N, no image at all could be called novel.
    """
    num = len(known_N)
    if not 1 / num <= false_positive_rate <= 1:
        raise ValueError(
            f"false_positive_rate must be in [1 / {num}, 1], as there are {num} calibration images, got "
            f"{false_positive_rate}"
        )
    allowed = int(false_positive_rate * num + 1e-6)  # 0.29 * 100 is a little below 29
    if allowed >= num:
        return 0.0
    return float(novelty_of(known_N[allowed], known_N))


class Novelty(nn.Module):
    """Novelty of images, calibrated by validation images of known classes.

    Attributes:
        known_N: Similarities of those images to their nearest prototype, ascending, float32; empty before `calibrate`.
    """

    known_N: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("known_N", torch.empty(0))

    @property
    def calibrated(self) -> bool:
        """Whether `calibrate` has been called."""
        return len(self.known_N) > 0

    @torch.no_grad()
    def calibrate(self, similarity_N: Tensor) -> None:
        """Measure novelty from now on by images of known classes.

        Args:
            similarity_N: Their similarities to their nearest prototype; of images that the prototypes were not made from.

        Raises:
            ValueError: There are none, or one is not finite.
        """
        if similarity_N.ndim != 1 or not len(similarity_N) or not similarity_N.isfinite().all():
            raise ValueError(
                f"similarity_N must be of shape (N,), N at least 1, and finite, got {tuple(similarity_N.shape)} with "
                f"{int((~similarity_N.isfinite()).sum())} that are not finite"
            )
        self.known_N = similarity_N.to(self.known_N).sort().values

    def forward(self, similarity_B: Tensor) -> Tensor:
        """Return `novelty_of` the similarities (B,), in [0, 1], on their device.

        Raises:
            ValueError: It is not calibrated.
        """
        return novelty_of(similarity_B, self._known()).to(similarity_B.device)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the novelty above which an image is called novel: `novelty_threshold` of the calibration images.

        Raises:
            ValueError: It is not calibrated, or the rate is out of range.
        """
        return novelty_threshold(self._known(), false_positive_rate)

    def _known(self) -> Tensor:
        if not self.calibrated:
            raise ValueError("novelty is not calibrated: call calibrate with validation images of known classes")
        return self.known_N

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to another device, but stay float32: similarities near 1 differ in the last digits."""
        known_N = self.known_N
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.known_N = known_N.to(self.known_N.device)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:  # noqa: ANN401
        """Take as many similarities as were saved."""
        saved = state_dict.get(f"{prefix}known_N")
        if saved is not None:
            self.known_N = self.known_N.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)
