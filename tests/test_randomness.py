from __future__ import annotations

import numpy as np
import pytest

from continual_df.randomness import generator_at, priority, seed_at


def test_addresses_give_different_seeds_and_the_same_address_the_same() -> None:
    seeds = {seed_at(seed, a, b) for seed in range(5) for a in range(5) for b in range(5)}
    assert len(seeds) == 125
    assert seed_at(1, 2, 3) == seed_at(1, 2, 3)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("large", [2**40, 2**62])
def test_large_numbers_are_told_apart(large: int) -> None:
    assert len({seed_at(0, large), seed_at(0, large + 1), seed_at(large), seed_at(0)}) == 4


def test_generators_draw_the_same_whatever_was_drawn_before() -> None:
    first = generator_at(0, 1).random(3)
    np.random.default_rng(0).random(100)
    np.testing.assert_array_equal(generator_at(0, 1).random(3), first)


def test_priorities_are_uniform_and_belong_to_the_id() -> None:
    ids = np.arange(20_000)
    share = priority(0, ids) / 2.0**64
    counts = np.histogram(share, bins=10, range=(0, 1))[0]
    assert np.abs(counts - 2000).max() < 200  # standard deviation 42
    np.testing.assert_array_equal(priority(0, ids[::-1])[::-1], priority(0, ids))
    assert len(np.unique(priority(0, ids))) == len(ids)
    assert np.corrcoef(share, priority(1, ids) / 2.0**64)[0, 1] == pytest.approx(0, abs=0.03)
