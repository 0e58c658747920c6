"""All operators by name; a new one is added to `operators`."""

from __future__ import annotations

import difflib

from continual_df.errors import ConfigError
from continual_df.forgeries.controls import NullCodec, NullResample
from continual_df.forgeries.double_jpeg_local import DoubleJPEGLocal
from continual_df.forgeries.elastic_grid import ElasticGrid
from continual_df.forgeries.inpaint import Inpaint
from continual_df.forgeries.lowres_warp import LowresWarp
from continual_df.forgeries.mls_warp import MLSWarp
from continual_df.forgeries.mouth_drive import MouthDrive
from continual_df.forgeries.operator import Operator
from continual_df.forgeries.parts_swap import PartsSwap
from continual_df.forgeries.pca_reconstruction import PCAReconstruction
from continual_df.forgeries.poisson_swap import PoissonSwap
from continual_df.forgeries.random_decoder import DecoderNearest, DecoderTransposed
from continual_df.forgeries.recolour import Recolour
from continual_df.forgeries.self_blended import SelfBlended
from continual_df.forgeries.tiny_autoencoder import TinyAutoencoder


def operators() -> dict[str, Operator]:
    """Return a fresh, unfitted operator of every kind, by name, in the order of their families."""
    fresh: list[Operator] = [
        SelfBlended(),
        PoissonSwap(),
        PartsSwap(),
        LowresWarp(),
        MLSWarp(),
        MouthDrive(),
        ElasticGrid(),
        DecoderTransposed(),
        DecoderNearest(),
        PCAReconstruction(),
        TinyAutoencoder(),
        Inpaint(),
        Recolour(),
        DoubleJPEGLocal(),
        NullCodec(),
        NullResample(),
    ]
    return {operator.name: operator for operator in fresh}


def select(names: list[str]) -> list[Operator]:
    """Return the operators called ``names``.

    Raises:
        ConfigError: If a name is unknown, with the nearest known ones, or given twice.
    """
    known = operators()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}?" if near else "See 'continual-df forge --list'."
            raise ConfigError(f"The forgery method '{name}' is not known. {hint}")
        if names.count(name) > 1:
            raise ConfigError(f"The forgery method '{name}' is named twice. Name it once.")
    return [known[name] for name in names]
