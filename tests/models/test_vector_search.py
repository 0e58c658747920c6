from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.errors import ConfigError
from continual_df.ledger import Ledger
from continual_df.models.vector_search import (
    exact_search,
    index_search,
    inverted_lists,
    load_faiss,
    num_lists,
    num_probes,
)


def unit_vectors(num: int, length: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(num, length, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("num", "lists", "probes"), [(1, 1, 1), (100, 10, 2), (1_000_000, 1000, 16)])
def test_lists_and_probes_follow_the_documented_rule(num: int, lists: int, probes: int) -> None:
    assert num_lists(num) == lists
    assert num_probes(lists) == probes


def test_all_lists_together_are_an_exact_search() -> None:
    vector_KD, query_BD = unit_vectors(400, 12), unit_vectors(9, 12, seed=1)
    similarity, place = index_search(inverted_lists(vector_KD, nprobe=20), query_BD, 400)
    expected, expected_place = exact_search(vector_KD, query_BD, 400)
    torch.testing.assert_close(similarity, expected)
    assert torch.equal(place, expected_place)


def test_every_list_is_as_large_as_what_is_in_it() -> None:
    # every vector once, in the list of the nearest centre, under its own place
    vector_KD = unit_vectors(300, 6)
    faiss, index = load_faiss(), inverted_lists(vector_KD)
    centre_LD = index.quantizer.reconstruct_n(0, index.nlist)
    found = []
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        place = faiss.rev_swig_ptr(index.invlists.get_ids(number), size).copy()
        stored = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * 24).copy().view(np.float32)
        assert np.array_equal(stored.reshape(size, 6), vector_KD.numpy()[place])
        assert ((vector_KD.numpy()[place] @ centre_LD.T).argmax(axis=1) == number).all()
        found += place.tolist()
    assert sorted(found) == list(range(300)) == list(range(index.ntotal))


def test_the_nearest_vector_of_clusters_is_found_with_the_default_probes() -> None:
    centre = unit_vectors(20, 16).repeat_interleave(50, dim=0)
    vector_KD = F.normalize(centre + 0.05 * torch.randn(1000, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    _, place = index_search(inverted_lists(vector_KD), vector_KD, 1)
    assert (place[:, 0] == torch.arange(1000)).all()


def test_lists_that_hold_too_few_are_padded() -> None:
    similarity, place = index_search(inverted_lists(unit_vectors(100, 4), nprobe=1), unit_vectors(3, 4, seed=1), 100)
    assert ((place == -1) == similarity.isneginf()).all()
    assert (place == -1).any(dim=1).all()
    assert (place[:, 0] >= 0).all()


def test_the_same_vectors_make_the_same_lists() -> None:
    vector_KD = unit_vectors(500, 8)
    one, two = (inverted_lists(vector_KD) for _ in range(2))
    assert np.array_equal(one.quantizer.reconstruct_n(0, 23), two.quantizer.reconstruct_n(0, 23))


def test_distances_are_charged_to_the_ledger() -> None:
    vector_KD, query_BD = unit_vectors(100, 8), unit_vectors(3, 8, seed=1)
    ledger = Ledger()
    with ledger.activate(), ledger.phase("selection"):
        exact_search(vector_KD, query_BD, 2)
    assert ledger.cost().flops == 2 * 100 * 8 * 3
    index, ledger = inverted_lists(vector_KD, nprobe=2), Ledger()
    with ledger.activate(), ledger.phase("selection"):
        index_search(index, query_BD, 2)
    assert ledger.cost().flops == 2 * (10 + 2 * 10) * 8 * 3


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "faiss":
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'continual-df\[cpu\]'"):
        load_faiss()
