"""Splits made by group: nothing that belongs together is torn apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from continual_df.data.frame_table import SPLITS
from continual_df.errors import StreamError


def linked_components(frame: pd.DataFrame, by_identity: bool = True) -> np.ndarray:
    """Return the component of every row, (N,) int: rows that share a group or an identity, directly or over others.

    A swap shows two identities and so links the groups of both. Rows without an identity are linked by group alone.

    Args:
        frame: Frame table; ``identity`` is optional.
        by_identity: Whether a shared identity links groups.
    """
    num = len(frame)
    group, groups = pd.factorize(frame["group"])
    row, token = np.arange(num), group
    if by_identity and "identity" in frame.columns:
        people = frame["identity"].reset_index(drop=True).str.split("|").explode()
        people = people[people.notna() & (people != "")]
        code, _ = pd.factorize(people)
        row = np.concatenate([row, people.index.to_numpy()])
        token = np.concatenate([token, len(groups) + code])
    size = num + int(token.max(initial=-1)) + 1
    links = coo_array((np.ones(len(row), dtype=np.int8), (row, num + token)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    return np.asarray(component[:num])


def split_by_group(
    frame: pd.DataFrame, fractions: Sequence[float] = (0.7, 0.1, 0.2), seed: int = 0, by_identity: bool = True
) -> pd.Series:
    """Return ``train``, ``val`` or ``test`` for every row, by linked components (`linked_components`).

    Components are taken in an order that depends on the seed and their groups' names alone, and each goes to the split
    that lacks most rows, so the result does not depend on the order of rows, and shares are met up to one component.

    Args:
        frame: Frame table with ``group``, optionally ``identity``.
        fractions: Shares of train, val and test, which sum to 1; a share of 0 leaves the split out.
        seed: Seed of the order.
        by_identity: Whether groups that share an identity stay together.

    Returns:
        Series with the index of ``frame``.

    Raises:
        StreamError: If the fractions are no shares, or a split that should hold rows stays empty.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise StreamError(
            f"split fractions are {tuple(fractions)}; give three shares of train, val, test that sum to 1."
        )
    component = linked_components(frame, by_identity)
    table = pd.DataFrame({"component": component, "group": frame["group"].to_numpy()})
    parts = table.groupby("component").agg(name=("group", "min"), rows=("group", "size"))
    parts["key"] = [hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).hexdigest() for name in parts["name"]]
    parts = parts.sort_values(["key", "name"])
    lack = {name: share * len(frame) for name, share in zip(SPLITS, fractions, strict=True) if share > 0}
    unfilled = set(lack)
    chosen: dict[int, str] = {}
    for left, (index, rows) in zip(range(len(parts), 0, -1), parts["rows"].items(), strict=True):
        # the last components go to splits that are still empty, so that few groups suffice
        place = max((name for name in lack if left > len(unfilled) or name in unfilled), key=lack.__getitem__)
        chosen[index] = place
        unfilled.discard(place)
        lack[place] -= rows
    if unfilled and len(frame):
        biggest = parts.loc[parts["rows"].idxmax()]
        empty = next(name for name in SPLITS if name in unfilled)
        raise StreamError(
            f"split '{empty}' stays empty: the {len(frame)} rows form {len(parts)} part(s) linked by group or "
            f"identity, the biggest with {biggest['rows']} rows (around group '{biggest['name']}'). Use the data set's "
            "own splits, correct the columns 'group' and 'identity', or set link_identities: false to go by group alone."
        )
    return pd.Series([chosen[item] for item in component], index=frame.index, name="split", dtype=object)
