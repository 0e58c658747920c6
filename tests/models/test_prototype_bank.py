from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from continual_df.errors import EmptyPrototypeError
from continual_df.models import prototypes
from continual_df.models.prototypes import PrototypeBank
from continual_df.models.vector_search import load_faiss


def features(num: int, length: int, seed: int = 0) -> Tensor:
    return torch.randn(num, length, generator=torch.Generator().manual_seed(seed)) * 3


def bank_of(vector_ND: Tensor, **options: Any) -> PrototypeBank:
    bank = PrototypeBank(vector_ND.shape[1], **options)
    bank.add(vector_ND, torch.arange(len(vector_ND)))
    return bank


def brute_force(vector_ND: Tensor, query_BD: Tensor) -> np.ndarray:
    """Cosine similarities (B, N) in double precision."""
    vector, query = vector_ND.double().numpy(), query_BD.double().numpy()
    vector = vector / np.linalg.norm(vector, axis=1, keepdims=True)
    query = query / np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-12)
    return np.asarray(query @ vector.T)


def assert_equals_brute_force(bank: PrototypeBank, vector_ND: Tensor, query_BD: Tensor, k: int) -> None:
    """Similarities and ids are those of the k nearest, equal ones in any order, and the rest is padding."""
    similarity, ids = bank.search(query_BD, k)
    every = brute_force(vector_ND, query_BD)
    for row, all_N in enumerate(every):
        num = min(k, len(all_N))
        assert similarity[row, :num].tolist() == pytest.approx(sorted(all_N, reverse=True)[:num], abs=2e-6)
        assert similarity[row, :num].tolist() == pytest.approx(all_N[ids[row, :num].numpy()].tolist(), abs=2e-6)
        assert len(set(ids[row, :num].tolist())) == num
        assert similarity[row, num:].isneginf().all()
        assert (ids[row, num:] == -1).all()


SIZES = {
    "num": st.integers(1, 40),
    "length": st.integers(1, 9),
    "queries": st.integers(0, 25),  # from 20 on, faiss multiplies matrices
    "k": st.integers(1, 50),
    "different": st.integers(1, 40),
    "seed": st.integers(0, 99),
}


@settings(max_examples=60, deadline=None)
@given(**SIZES)
def test_search_equals_brute_force(num: int, length: int, queries: int, k: int, different: int, seed: int) -> None:
    vector_ND = features(num, length, seed)[torch.arange(num) % different]  # the others are there again
    query_BD = torch.cat([features(queries, length, seed + 1), vector_ND[:2], torch.zeros(1, length)])
    assert_equals_brute_force(bank_of(vector_ND), vector_ND, query_BD, k)


@settings(max_examples=40, deadline=None)
@given(**SIZES)
def test_inverted_lists_equal_brute_force_when_all_are_scanned(
    num: int, length: int, queries: int, k: int, different: int, seed: int
) -> None:
    vector_ND = features(num, length, seed)[torch.arange(num) % different]
    query_BD = torch.cat([features(queries, length, seed + 1), vector_ND[:2]])
    assert_equals_brute_force(bank_of(vector_ND, exact_up_to=0, nprobe=num), vector_ND, query_BD, k)


def test_the_buffer_itself_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = bank_of(features(30, 5))
    faiss, read = load_faiss(), []
    knn = faiss.knn

    def noted(query: np.ndarray, vectors: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        read.append((vectors.ctypes.data, vectors.flags.c_contiguous, str(vectors.dtype)))
        return knn(query, vectors, *args, **kwargs)

    monkeypatch.setattr(faiss, "knn", noted)
    bank.search(features(2, 5, seed=1), 3)
    assert read == [(bank.vector_KD.data_ptr(), True, "float32")]
    assert bank._index is None


def test_ids_stay_and_are_never_given_again() -> None:
    bank = PrototypeBank(3)
    assert bank.add(features(3, 3), torch.tensor([0, 1, 1])).tolist() == [0, 1, 2]
    bank.remove([2, 0])
    assert bank.add(features(2, 3, seed=1), torch.tensor([5, 6])).tolist() == [3, 4]
    assert bank.id_K.tolist() == [1, 3, 4]
    assert bank.class_K.tolist() == [1, 5, 6]
    bank.remove(bank.id_K)
    assert bank.add(features(1, 3), torch.tensor([0])).tolist() == [5]
    assert bank.search(features(1, 3), 1)[1].tolist() == [[5]]


def test_prototypes_have_length_one_whatever_was_added() -> None:
    bank = bank_of(features(6, 4) * torch.logspace(-6, 6, 6)[:, None])
    torch.testing.assert_close(bank.vector_KD, F.normalize(features(6, 4), dim=1))
    bank.move(2, 100 * features(1, 4, seed=1)[0], momentum=0.3)
    bank.merge(0, 5)
    torch.testing.assert_close(bank.vector_KD.norm(dim=1), torch.ones(5))


def test_moving_is_a_moving_average_of_directions() -> None:
    # 0.75 (1, 0) + 0.25 (0, 1) = (0.75, 0.25), of length sqrt(0.625)
    bank = bank_of(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    bank.move(0, torch.tensor([0.0, 5.0]), momentum=0.75)
    torch.testing.assert_close(bank.vector_KD, torch.tensor([[0.75 / 0.625**0.5, 0.25 / 0.625**0.5], [0.0, 1.0]]))
    assert bank.count_K.tolist() == [2, 1]
    bank.move(1, torch.tensor([1.0, 1.0]), count=12)
    assert bank.count_K.tolist() == [2, 13]


def test_merging_weighs_by_counts_and_keeps_the_first() -> None:
    # (3 (1, 0) + 1 (0, 1)) / 4, of length sqrt(10) / 4
    bank = PrototypeBank(2)
    bank.add(torch.tensor([[0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]]), torch.tensor([7, 8, 9]), torch.tensor([1, 5, 3]))
    bank.merge(2, 0)
    assert (bank.id_K.tolist(), bank.class_K.tolist(), bank.count_K.tolist()) == ([1, 2], [8, 9], [5, 4])
    torch.testing.assert_close(bank.vector_KD[1], torch.tensor([3.0, 1.0]) / 10**0.5)


def test_naming_a_cluster_changes_its_class_alone() -> None:
    bank = bank_of(features(4, 3))
    vector_KD = bank.vector_KD.clone()
    bank.relabel(torch.tensor([1, 3]), 40)
    assert bank.class_K.tolist() == [0, 40, 2, 40]
    assert torch.equal(bank.vector_KD, vector_KD)
    assert bank.classes(torch.tensor([[3, -1], [0, 1]])).tolist() == [[40, -1], [0, 40]]


def test_search_can_be_among_some_classes_only() -> None:
    vector_ND, query_BD = features(30, 4), features(5, 4, seed=1)
    bank = PrototypeBank(4)
    bank.add(vector_ND, torch.arange(30) % 3)
    similarity, ids = bank.search(query_BD, 40, class_ids=[0, 2])
    own = [row for row in range(30) if row % 3 != 1]
    expected = np.sort(brute_force(vector_ND[own], query_BD), axis=1)[:, ::-1]
    assert similarity[:, :20].numpy() == pytest.approx(expected, abs=2e-6)
    assert sorted(ids[0, :20].tolist()) == own
    assert (ids[:, 20:] == -1).all()


CHANGES: dict[str, Callable[[PrototypeBank], object]] = {
    "add": lambda bank: bank.add(features(1, 4, seed=5), torch.tensor([9])),
    "move": lambda bank: bank.move(3, features(1, 4, seed=5)[0], momentum=0.0),
    "merge": lambda bank: bank.merge(3, 4),
    "remove": lambda bank: bank.remove([3]),
    "load": lambda bank: bank.load_state_dict(bank_of(features(20, 4, seed=6)).state_dict()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_inverted_lists_are_made_anew_after_a_change(change: str) -> None:
    bank = bank_of(features(50, 4), exact_up_to=0, nprobe=50)
    bank.search(features(1, 4))
    index = bank._index
    bank.search(features(1, 4))
    assert bank._index is index is not None
    CHANGES[change](bank)
    similarity, ids = bank.search(features(6, 4, seed=5), 8)
    every = brute_force(bank.vector_KD, features(6, 4, seed=5))
    assert similarity.numpy() == pytest.approx(np.sort(every, axis=1)[:, ::-1][:, :8], abs=2e-6)
    assert torch.isin(ids, bank.id_K).all()


def test_state_travels_in_a_checkpoint_whatever_its_size(tmp_path: Path) -> None:
    bank = bank_of(features(7, 4), exact_up_to=0)
    bank.remove([6, 2])
    bank.calibration.calibrate(torch.tensor([0.5, 0.9, 0.7]))
    bank.search(features(2, 4), 3)
    torch.save(nn.ModuleDict({"bank": bank}).state_dict(), tmp_path / "bank.pt")
    state = torch.load(tmp_path / "bank.pt", weights_only=True)
    for other in (PrototypeBank(4), bank_of(features(20, 4, seed=1))):
        nn.ModuleDict({"bank": other}).load_state_dict(state)
        for name, value in bank.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)
        assert other.add(features(1, 4), torch.tensor([0])).tolist() == [7]
        assert other.calibration.threshold(0.5) == bank.calibration.threshold(0.5)
    assert not any("index" in name for name in state)


def test_state_of_other_features_is_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch for vector_KD"):
        PrototypeBank(5).load_state_dict(bank_of(features(3, 4)).state_dict())


def test_a_bank_can_be_copied_after_a_search() -> None:
    bank = bank_of(features(9, 4), exact_up_to=0)
    bank.search(features(1, 4))
    other = copy.deepcopy(bank)
    assert other._index is None
    other.remove([0])
    assert len(bank) == 9
    assert len(other) == 8


def test_half_precision_of_the_model_leaves_prototypes_and_calibration_as_they_are() -> None:
    bank = bank_of(features(9, 4))
    bank.calibration.calibrate(torch.tensor([0.99991, 0.99992]))
    before = {name: value.clone() for name, value in bank.state_dict().items()}
    nn.ModuleDict({"bank": bank}).to(torch.bfloat16)
    for name, value in bank.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    similarity, _ = bank.search(features(2, 4).bfloat16(), 1)
    assert similarity.dtype == torch.float32


def test_empty_bank_has_an_error_of_its_own() -> None:
    with pytest.raises(EmptyPrototypeError, match="holds no prototypes: search it after"):
        PrototypeBank(4).search(features(1, 4))
    with pytest.raises(EmptyPrototypeError, match=r"holds no prototypes of the classes \[8, 9\]"):
        bank_of(features(2, 4)).search(features(1, 4), class_ids=[8, 9])


WRONG: dict[str, Callable[[PrototypeBank], object]] = {
    "num_features must be at least 1, got 0": lambda bank: PrototypeBank(0),
    "exact_up_to must be at least 0, got -1": lambda bank: PrototypeBank(4, exact_up_to=-1),
    "nprobe must be at least 1, got 0": lambda bank: PrototypeBank(4, nprobe=0),
    r"vector_ND must be of shape \(N, 4\), got \(2, 3\)": lambda bank: bank.add(features(2, 3), torch.zeros(2).long()),
    r"class_N and count_N must be of shape \(2,\)": lambda bank: bank.add(features(2, 4), torch.zeros(3).long()),
    "count_N must be at least 1, got 0": lambda bank: bank.add(
        features(2, 4), torch.zeros(2).long(), torch.zeros(2).long()
    ),
    "longer than 0; that of row 1 is 0 long": lambda bank: bank.add(
        torch.eye(4)[:2] * torch.tensor([[1], [0]]), torch.arange(2)
    ),
    "that of row 0 is nan long": lambda bank: bank.add(torch.full((1, 4), torch.nan), torch.arange(1)),
    "count must be at least 0, got -1": lambda bank: bank.move(0, torch.ones(4), count=-1),
    r"momentum must be in \[0, 1\], got 1.5": lambda bank: bank.move(0, torch.ones(4), momentum=1.5),
    "longer than 1e-06; that of row 0 is": lambda bank: bank.move(0, -bank.vector_KD[0], momentum=0.5),
    r"holds no prototypes \[9\]": lambda bank: bank.move(9, torch.ones(4)),
    "merged with itself, got 1 twice": lambda bank: bank.merge(1, 1),
    r"holds no prototypes \[3, 5\]": lambda bank: bank.remove([5, 0, 3]),
    r"holds no prototypes \[4\]": lambda bank: bank.relabel([4], 1),
    r"holds no prototypes \[7\]": lambda bank: bank.classes(torch.tensor([7, -1])),
    "k must be at least 1, got 0": lambda bank: bank.search(features(1, 4), 0),
    r"query_BD must be of shape \(B, 4\), got \(1, 5\)": lambda bank: bank.search(features(1, 5)),
    r"those of rows \[1\] are not": lambda bank: bank.search(torch.tensor([[1.0] * 4, [torch.inf] * 4])),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_values_are_refused_and_change_nothing(message: str) -> None:
    bank = bank_of(features(3, 4))
    before = {name: value.clone() for name, value in bank.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        WRONG[message](bank)
    assert all(torch.equal(value, before[name]) for name, value in bank.state_dict().items())


def test_novelty_falls_with_the_similarity_to_the_nearest_prototype() -> None:
    bank = bank_of(torch.eye(3))
    known = torch.tensor([[1.0, 0.1, 0.0], [0.2, 1.0, 0.0], [0.0, 0.3, 1.0], [0.4, 0.0, 1.0]])
    bank.calibration.calibrate(bank.search(known)[0][:, 0])
    query = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.25, 1.0], [1.0, 1.0, 1.0]])
    # known similarities .9285, .9578, .9806, .9950; those of the queries 1, .9701, .5774, and 0 to the other two
    assert bank.novelty(query).tolist() == pytest.approx([0.0, (2 + 0.459) / 5, (4 + 0.1821) / 5], abs=2e-4)
    assert bank.novelty(query[:1], class_ids=[1, 2]).tolist() == pytest.approx([(4 + 0.4815) / 5], abs=2e-4)


class OnGPU:
    """A faiss that has two GPUs, as far as a machine without can tell: an index is copied to them as it is."""

    def __init__(self) -> None:
        self.faiss: Any = load_faiss()
        self.copied: list[tuple[str, object]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.faiss, name)

    StandardGpuResources = GpuMultipleClonerOptions = SimpleNamespace

    def get_num_gpus(self) -> int:
        return 2

    def index_cpu_to_gpu(self, resources: object, device: int, index: Any) -> Any:
        self.copied.append((type(index).__name__, device))
        return index

    def index_cpu_to_all_gpus(self, index: Any, co: SimpleNamespace) -> Any:
        assert co.shard
        self.copied.append((type(index).__name__, "all"))
        return index


@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize(("exact_up_to", "kind"), [(1000, "IndexFlatIP"), (0, "IndexIVFFlat")])
def test_where_faiss_has_gpus_the_index_is_there(
    exact_up_to: int, kind: str, shard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = OnGPU()
    monkeypatch.setattr("continual_df.models.vector_search.load_faiss", lambda: on_gpu)
    vector_ND = features(30, 4)
    bank = bank_of(vector_ND, exact_up_to=exact_up_to, nprobe=30, shard=shard)
    for _ in range(2):
        assert_equals_brute_force(bank, vector_ND, features(3, 4, seed=1), 5)
    assert on_gpu.copied == [(kind, "all" if shard else 0)]
    monkeypatch.setattr(prototypes, "index_search", None)
    assert_equals_brute_force(bank, vector_ND, features(3, 4, seed=1), 2049)  # more than a GPU gives


@pytest.mark.gpu
@pytest.mark.parametrize("shard", [False, True])
@pytest.mark.parametrize("exact_up_to", [10_000, 0])
def test_search_on_a_gpu_equals_brute_force(exact_up_to: int, shard: bool) -> None:
    assert load_faiss().get_num_gpus(), "needs the extra gpu, and one"
    vector_ND, query_BD = features(5000, 64), features(50, 64, seed=1)
    bank = bank_of(vector_ND, exact_up_to=exact_up_to, nprobe=71, shard=shard).cuda()
    similarity, ids = bank.search(query_BD.cuda(), 10)
    assert similarity.is_cuda
    assert ids.is_cuda
    every = brute_force(vector_ND, query_BD)
    assert similarity.cpu().numpy() == pytest.approx(np.sort(every, axis=1)[:, ::-1][:, :10], abs=1e-4)
    assert np.take_along_axis(every, ids.cpu().numpy(), axis=1) == pytest.approx(similarity.cpu().numpy(), abs=1e-4)
