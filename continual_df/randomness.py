"""Randomness that is addressed, not consumed: what is drawn depends on (seed, address) alone.

So results do not depend on the number of workers, on the order of calls, or on where a run was interrupted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def seed_at(seed: int, *address: int) -> int:
    """Return a 63-bit seed for ``address``, independent between addresses."""
    words = [value & 0xFFFFFFFF for number in (seed, *address) for value in (number, number >> 32)]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_at(seed: int, *address: int) -> np.random.Generator:
    """Return a numpy generator for ``address``."""
    return np.random.default_rng(seed_at(seed, *address))


def priority(seed: int, ids_N: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Return one uniform 64-bit number per id, a function of (seed, id) alone (SplitMix64 finaliser).

    Keeping the ``n`` smallest priorities of everything seen so far is a uniform sample without replacement, whatever
    the order of arrival: a reservoir without state.
    """
    with np.errstate(over="ignore"):
        x = np.asarray(ids_N).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed_at(seed))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
