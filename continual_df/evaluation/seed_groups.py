"""Which runs are one method over several seeds, and what to call it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def group_by_seed(keys: Sequence[Hashable], seeds: Sequence[int | None]) -> list[list[int]]:
    """Return the positions of equal keys together, in order of first appearance.

    Two of one seed are never together: the second begins a group of its own.
    """
    groups: dict[tuple[Hashable, int], list[int]] = {}
    for position, (key, seed) in enumerate(zip(keys, seeds, strict=True)):
        number = 0
        while any(seeds[other] == seed for other in groups.get((key, number), [])):
            number += 1
        groups.setdefault((key, number), []).append(position)
    return list(groups.values())


def tell_apart(names: Sequence[str], details: Sequence[str]) -> list[str]:
    """Return the names, each that stands there twice with its detail, and with a number where that is not enough."""
    longer = [f"{a} ({b})" if names.count(a) > 1 else a for a, b in zip(names, details, strict=True)]
    return [
        f"{name} #{longer[: at + 1].count(name)}" if longer.count(name) > 1 else name for at, name in enumerate(longer)
    ]
