"""Which split a person belongs to and who gives the face of a swap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from continual_df.data.frame_table import SPLITS
from continual_df.errors import ConfigError
from continual_df.forgeries.seeding import generator

CANDIDATES = 12
"""The donor is the most similar of so many drawn at random, so that swaps are plausible and differ between methods."""


def split_identities(identities: list[str], fractions: tuple[float, float, float], seed: int) -> dict[str, str]:
    """Return the split of each identity; shares are counted in identities, largest remainders first.

    Raises:
        ConfigError: If the fractions do not add to 1, or a split with a share would stay empty.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(f"The shares of train, val and test must add to 1, got {fractions}.")
    names = sorted(set(identities))
    order = [names[i] for i in generator(seed, "splits").permutation(len(names))]
    exact = np.array(fractions) * len(names)
    counts = np.floor(exact).astype(int)
    for index in np.argsort(counts - exact, kind="stable")[: len(names) - counts.sum()]:
        counts[index] += 1
    empty = [split for split, count, share in zip(SPLITS, counts, fractions, strict=True) if share > 0 and count == 0]
    if empty:
        raise ConfigError(
            f"{len(names)} identities leave the split '{empty[0]}' empty with shares {fractions}. "
            "Give more people, or change the shares."
        )
    return dict(zip(order, np.repeat(SPLITS, counts).tolist(), strict=True))


def choose_donor(
    target: int,
    identity: npt.NDArray[np.str_],
    split: npt.NDArray[np.str_],
    thumbnails: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> int:
    """Return the row of the donor for row ``target``: same split, another identity, similar in a thumbnail.

    Args:
        target: Row of the face to be replaced.
        identity: Identity by row, (N,).
        split: Split by row, (N,).
        thumbnails: Small grey pictures without their mean, (N, P).
        rng: Draws the candidates.

    Raises:
        ConfigError: If the split holds no other identity.
    """
    allowed = np.flatnonzero((split == split[target]) & (identity != identity[target]))
    if len(allowed) == 0:
        raise ConfigError(
            f"The split '{split[target]}' holds one identity, '{identity[target]}', and a swap needs two. "
            "Give more people, change the shares, or leave the swaps out."
        )
    drawn = rng.choice(allowed, min(CANDIDATES, len(allowed)), replace=False)
    distance = ((thumbnails[drawn] - thumbnails[target]) ** 2).sum(1)
    return int(drawn[distance.argmin()])
