"""Whole-image synthesis by a small autoencoder trained on the spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from continual_df.forgeries.blending import add_texture, to_uint8
from continual_df.forgeries.operator import Family, Forgery, Image, Scene
from continual_df.forgeries.threads import one_torch_thread

if TYPE_CHECKING:
    from torch import nn

CROP = 32
STEPS = 250


class TinyAutoencoder:
    """Rebuild the face by a convolutional autoencoder trained on the training reals.

    A block of 4 x 4 RGB pixels is coded by 8 numbers; the decoder's pixel shuffles leave a grid of period 2 and 4. It is
    trained on crops of 32 x 32 pixels (250 Adam steps of 32 crops, seconds on one core) and forges any size.
    """

    name = "tiny_autoencoder"
    family: Family = "synthesis"
    needs_donor = False

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        self._weights: dict[str, npt.NDArray[np.float32]] = {}
        self._network: nn.Module | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_network": None}

    def fit(self, reals: Image, seed: int) -> None:
        """Train on ``reals`` (N, H, W, 3) with torch's generator seeded by ``seed``."""
        import torch

        rng = np.random.default_rng(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _build()
        optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=self.steps)
        with one_torch_thread():
            for _ in range(self.steps):
                rows = rng.integers(0, reals.shape[1] - CROP + 1, 32)
                columns = rng.integers(0, reals.shape[2] - CROP + 1, 32)
                which = rng.integers(0, len(reals), 32)
                crops = [reals[n, y : y + CROP, x : x + CROP] for n, y, x in zip(which, rows, columns, strict=True)]
                batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 - 0.5
                loss = (network(batch) - batch).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self._weights = {name: value.numpy().copy() for name, value in network.state_dict().items()}
        self._network = None

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge the whole image; the code is perturbed by 5 % of its spread."""
        import torch

        if not self._weights:
            raise ValueError("tiny_autoencoder must be fitted on training reals before it forges")
        if self._network is None:
            self._network = _build()
            self._network.load_state_dict({name: torch.from_numpy(value) for name, value in self._weights.items()})
        encoder, decoder = self._network.children()
        height, width = face.shape[:2]
        padded = np.pad(face, ((0, -height % 4), (0, -width % 4), (0, 0)), mode="edge")
        with torch.no_grad(), one_torch_thread():
            code = encoder(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255 - 0.5)
            noise = torch.from_numpy(rng.standard_normal(tuple(code.shape)).astype(np.float32))
            rebuilt = decoder(code + 0.05 * code.std() * noise)[0].permute(1, 2, 0).numpy()[:height, :width]
        forged = to_uint8(add_texture((rebuilt + 0.5) * 255, face, rng))
        return Forgery(forged, np.full(face.shape[:2], 255, np.uint8), {"steps": self.steps})


def _build() -> nn.Module:
    """Return the untrained network: encoder, decoder."""
    from torch import nn

    encoder = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(16, 8, 4, stride=2, padding=1),
    )
    decoder = nn.Sequential(
        nn.Conv2d(8, 64, 3, padding=1),
        nn.PixelShuffle(2),
        nn.SiLU(),
        nn.Conv2d(16, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )
    return nn.Sequential(encoder, decoder)
