"""Whole-image synthesis by untrained convolutional generators, which imprint their upsampling on the spectrum.

[1] Zhang et al., 2019, arXiv:1907.06515 (AutoGAN: upsampling leaves a fingerprint without any training)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from continual_df.forgeries.blending import add_texture, to_uint8
from continual_df.forgeries.operator import Family, Forgery, Image, Scene
from continual_df.forgeries.threads import one_torch_thread

if TYPE_CHECKING:
    from torch import nn

WIDTH = 24
"""Channels at half resolution: twice the numbers that a 2 x 2 block of RGB has."""


class _RandomDecoder:
    """Encode by a random stride-2 convolution, decode by a random upsampling layer, read out in colour [1].

    The readout is the ridge regression of the face on the decoder's feature maps, so colours agree with the photo while
    the fine structure is the decoder's. The weights depend on the method alone: one generator, one fingerprint.
    """

    family: Family = "synthesis"
    needs_donor = False

    def __init__(self, name: str, upsampling: Literal["transposed", "nearest"], seed: int) -> None:
        self.name = name
        self.upsampling = upsampling
        self.seed = seed
        self._network: nn.Module | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_network": None}

    def __call__(self, face: Image, scene: Scene, rng: np.random.Generator) -> Forgery:
        """Forge the whole image."""
        import torch

        if self._network is None:
            self._network = _build(self.upsampling, self.seed)
        height, width = face.shape[:2]
        padded = np.pad(face, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        ridge = float(10 ** rng.uniform(-4, -3))
        with torch.no_grad(), one_torch_thread():
            image = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255 - 0.5
            features = self._network(image)[0, :, :height, :width].flatten(1).T.double().numpy()
        design = np.hstack([features, np.ones((len(features), 1))])
        target = face.reshape(-1, 3) / 255
        gram = design.T @ design / len(design)
        gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
        readout = np.linalg.solve(gram, design.T @ target / len(design))
        rebuilt = (design @ readout).reshape(face.shape) * 255
        forged = to_uint8(add_texture(rebuilt, face, rng))
        return Forgery(forged, np.full(face.shape[:2], 255, np.uint8), {"ridge": ridge, "weights": self.seed})


def _build(upsampling: str, seed: int) -> nn.Module:
    """Return the network with weights drawn from a generator of its own, so that torch's global state is untouched.

    Upsampling kernels are random mixtures of channels times a bilinear kernel whose taps are off by 35 %: smooth enough
    to look like a photo, uneven enough to leave the generator's trace.
    """
    import torch
    from torch import nn

    random = torch.Generator().manual_seed(seed)
    encoder = nn.Conv2d(3, WIDTH, 4, stride=2, padding=1)
    if upsampling == "transposed":
        decoder: nn.ConvTranspose2d | nn.Conv2d = nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1)
        taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
        parts: list[nn.Module] = [encoder, nn.LeakyReLU(0.4), decoder]
    else:
        decoder = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        taps = torch.tensor([0.2, 1.0, 0.2])
        parts = [encoder, nn.LeakyReLU(0.4), nn.Upsample(scale_factor=2, mode="nearest"), decoder]
    with torch.no_grad():
        for layer in (encoder, decoder):
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        encoder.weight.copy_(torch.randn(encoder.weight.shape, generator=random) / 48**0.5)
        mixture = torch.randn((WIDTH, WIDTH, 1, 1), generator=random) / WIDTH**0.5
        uneven = 1 + 0.35 * torch.randn(decoder.weight.shape, generator=random)
        decoder.weight.copy_(mixture * torch.outer(taps, taps) * uneven)
    return nn.Sequential(*parts)


class DecoderTransposed(_RandomDecoder):
    """Random generator with a transposed convolution (kernel 4, stride 2): a checkerboard of period 2."""

    def __init__(self) -> None:
        super().__init__("decoder_transposed", "transposed", 20190715)


class DecoderNearest(_RandomDecoder):
    """Random generator with nearest upsampling and convolution: neighbours in 2 x 2 blocks depend on each other."""

    def __init__(self) -> None:
        super().__init__("decoder_nearest", "nearest", 20231129)
