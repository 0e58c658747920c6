from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest

from continual_df.data.splits import linked_components, split_by_group
from continual_df.errors import StreamError


def swaps(num: int = 200, seed: int = 0) -> pd.DataFrame:
    """Pairs as in FaceForensics++: reals 2k and 2k + 1, and both swaps between them."""
    rows = []
    for target in range(num):
        donor = target ^ 1
        rows += [(f"ff/{target}", f"ff/{target}")] * 3 + [(f"ff/{target}", f"ff/{target}|ff/{donor}")] * 2
    return pd.DataFrame(rows, columns=["group", "identity"]).sample(frac=1, random_state=seed, ignore_index=True)


def test_neither_group_nor_identity_straddles() -> None:
    frame = swaps().assign(split=lambda f: split_by_group(f, seed=3))
    assert frame.groupby("group")["split"].nunique().max() == 1
    people = frame.assign(person=frame["identity"].str.split("|")).explode("person")
    assert people.groupby("person")["split"].nunique().max() == 1


def test_shares_are_met_up_to_one_component() -> None:
    counts = split_by_group(swaps(), (0.7, 0.1, 0.2)).value_counts()
    assert abs(counts["train"] - 700) <= 10
    assert abs(counts["val"] - 100) <= 10
    assert abs(counts["test"] - 200) <= 10


def test_the_split_depends_on_seed_but_not_on_row_order_or_index() -> None:
    frame = swaps()
    split = split_by_group(frame, seed=1)
    order = np.random.default_rng(5).permutation(len(frame))
    pd.testing.assert_series_equal(split_by_group(frame.iloc[order], seed=1).sort_index(), split)
    assert (split_by_group(frame, seed=2) != split).any()


def test_a_swap_links_the_groups_of_both_parents() -> None:
    frame = pd.DataFrame({"group": ["a", "b", "c", "d"], "identity": ["x", "y", "x|y", ""]})
    component = linked_components(frame)
    assert component[0] == component[1] == component[2] != component[3]


def test_rows_without_identity_are_linked_by_group_alone() -> None:
    frame = pd.DataFrame({"group": ["a", "a", "b", "c"], "identity": ["", "", "", None]})
    assert len(set(linked_components(frame))) == 3
    assert len(set(linked_components(frame.drop(columns="identity")))) == 3


def test_a_share_of_zero_leaves_the_split_out() -> None:
    assert set(split_by_group(swaps(), (0.8, 0.2, 0.0))) == {"train", "val"}


@pytest.mark.parametrize("fractions", [(0.5, 0.1, 0.2), (1.2, -0.1, -0.1), (0.5, 0.5)])
def test_fractions_that_are_no_shares_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(StreamError, match="three shares"):
        split_by_group(swaps(), fractions)


def test_one_component_cannot_be_split() -> None:
    frame = pd.DataFrame({"group": list("abc"), "identity": ["x|y", "y|z", "z"]})
    with pytest.raises(StreamError, match=r"split 'val' stays empty.*the biggest with 3 rows"):
        split_by_group(frame)


@pytest.mark.parametrize("seed", range(5))
def test_three_groups_suffice_for_three_splits(seed: int) -> None:
    frame = pd.DataFrame({"group": list("abc")})
    assert sorted(split_by_group(frame, seed=seed)) == ["test", "train", "val"]


def test_a_hundred_thousand_rows_are_split_in_seconds() -> None:
    start = time.perf_counter()
    split = split_by_group(swaps(20_000), seed=1)
    assert time.perf_counter() - start < 20
    assert abs((split == "train").mean() - 0.7) < 0.001
