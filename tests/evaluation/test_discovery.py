from __future__ import annotations

import math

import numpy as np
import pytest

from continual_df.evaluation.discovery import Attribution, Cluster, class_lives, largest_clusters, match_rate

Fallen = dict[str, dict[int, int]]


def attribution(fallen: Fallen, class_ids: dict[str, int]) -> Attribution:
    """Return images of each class in the heads where they fall."""
    pairs = [(name, head) for name, heads in fallen.items() for head, num in heads.items() for _ in range(num)]
    names, heads = zip(*pairs, strict=True)
    return Attribution(np.array(names, dtype=object), np.array(heads), class_ids)


def clusters(fallen: Fallen, known: set[int]) -> dict[str, Cluster]:
    true, predicted, _ = attribution(fallen, {})
    return largest_clusters(true, predicted, known)


def test_largest_cluster_has_its_share_and_its_purity_over_known_and_novel_images() -> None:
    found = clusters({"a": {5: 6, 6: 2, 0: 2}, "b": {5: 2, 6: 2}, "c": {0: 4}}, known={0})
    assert found == {"a": Cluster(5, 0.6, 0.75), "b": Cluster(5, 0.5, 0.25)}  # of equal ones the least; c has none


@pytest.mark.parametrize(
    ("fallen", "owned"),
    [
        ({"a": {5: 9}, "b": {5: 2}}, True),  # 9/11 > .8
        ({"a": {5: 8}, "b": {5: 2}}, False),  # exactly .8 is not more
        ({"a": {5: 5, 6: 5}, "b": {0: 1}}, False),  # half is not most
        ({"a": {5: 6, 0: 4}, "b": {0: 1}}, True),
        ({"a": {0: 9, 5: 1}, "b": {0: 1}}, False),  # pure, but a crumb
    ],
)
def test_cluster_is_owned_if_pure_and_most_of_the_class(fallen: Fallen, owned: bool) -> None:
    assert clusters(fallen, known={0})["a"].owned is owned


STREAM = {
    1: attribution({"real": {0: 4}, "late": {2: 2, 3: 2}, "wild": {0: 4}, "out": {9: 4}}, {"real": 0}),
    2: attribution(
        {"real": {0: 3, 1: 1}, "late": {2: 4}, "wild": {4: 3, 0: 1}, "out": {9: 4}, "b": {1: 4}}, {"real": 0, "b": 1}
    ),
    3: attribution(
        {"real": {0: 1, 2: 3}, "late": {2: 4}, "wild": {4: 2, 5: 2}, "out": {9: 4}, "b": {1: 2, 0: 2}},
        {"real": 0, "b": 1, "late": 2},
    ),
}
LIVES = class_lives(STREAM, {"late": 1, "wild": 1})


def test_lives_go_from_unlabelled_over_discovered_and_named_to_remembered_or_forgotten() -> None:
    states = {name: list(life.states.values()) for name, life in LIVES.items()}
    assert states == {
        "real": ["named", "remembered", "forgotten"],
        "late": ["unlabelled", "discovered", "named"],
        "wild": ["unlabelled", "discovered", "unlabelled"],  # lost again
        "b": ["named", "remembered"],
        "out": ["held out"] * 3,  # in a cluster of its own, but no training image ever was
    }
    assert list(LIVES) == ["real", "late", "wild", "b", "out"]
    assert list(LIVES["b"].states) == [2, 3]


def test_values_are_shares_of_the_largest_cluster_and_then_direct_accuracy() -> None:
    assert LIVES["late"].values == {1: 0.5, 2: 1.0, 3: 1.0}
    assert LIVES["wild"].values == {1: 0.0, 2: 0.75, 3: 0.5}
    assert LIVES["real"].values == {1: 1.0, 2: 0.75, 3: 0.25}


def test_lag_is_from_the_first_unlabelled_images_to_the_first_cluster() -> None:
    assert (LIVES["late"].unlabelled, LIVES["late"].discovered, LIVES["late"].named, LIVES["late"].lag) == (
        1,
        2,
        3,
        1.0,
    )
    assert LIVES["wild"].lag == 1.0
    at_once = class_lives({2: STREAM[2]}, {"late": 2})
    assert at_once["late"].lag == 0.0
    for never in (LIVES["real"], LIVES["out"], class_lives({1: STREAM[1]}, {"wild": 1})["wild"]):
        assert math.isnan(never.lag)


def test_forgetting_is_accuracy_when_named_minus_at_the_end() -> None:
    assert LIVES["real"].forgetting == 0.75
    assert LIVES["b"].forgetting == 0.5
    for open_end in ("late", "wild", "out"):  # named last, or never
        assert math.isnan(LIVES[open_end].forgetting)


def test_class_that_has_unlabelled_images_besides_its_labelled_ones_is_named_from_the_start() -> None:
    life = class_lives({1: STREAM[1]}, {"real": 1})["real"]
    assert (life.unlabelled, life.named, life.states) == (None, 1, {1: "named"})


@pytest.mark.parametrize(
    ("matches", "rate"), [({"late": 2}, 1.0), ({"late": 4}, 0.0), ({}, 0.0), ({"b": 1, "late": 2}, 1.0)]
)
def test_match_rate_counts_names_that_went_to_the_cluster_owned_just_before(
    matches: dict[str, int], rate: float
) -> None:
    assert match_rate(LIVES, matches) == rate


def test_class_that_owned_no_cluster_when_it_was_named_is_not_matched() -> None:
    lives = class_lives({1: STREAM[1], 2: STREAM[2]._replace(class_ids={"real": 0, "b": 1, "late": 2})}, {"late": 1})
    assert lives["late"].named == 2
    assert match_rate(lives, {"late": 2}) == 0.0


def test_match_rate_without_a_class_named_later_is_nan() -> None:
    assert math.isnan(match_rate({"real": LIVES["real"], "wild": LIVES["wild"]}, {}))
