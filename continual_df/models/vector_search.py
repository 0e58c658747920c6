"""The nearest of K unit vectors by cosine similarity, through faiss (Douze et al., 2024, arXiv:2401.08281).

Letters: K vectors, B queries, D their length, k neighbours.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from continual_df.errors import ConfigError
from continual_df.ledger import add_flops

POINTS_PER_LIST = 64
"""Most vectors that k-means takes for each list, drawn with a fixed seed; faiss asks for at least 39."""

MOST_ON_GPU = 2048
"""Largest number of neighbours, and of probed lists, that faiss's GPU indexes can give."""


def load_faiss() -> Any:  # noqa: ANN401  it has no types
    """Return the module faiss, whose import takes a while.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "The prototype bank needs faiss, which is not installed: pip install 'continual-df[cpu]', or "
            "'continual-df[gpu]' to search on a GPU; never both."
        ) from error
    return faiss


def exact_search(vector_KD: Tensor, query_BD: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return (similarity_Bk, place_Bk) of the k nearest vectors, nearest first; -inf and -1 where k > K.

    ``faiss.knn`` reads the vectors where they are: nothing of their size is allocated.

    Args:
        vector_KD: float32 on the CPU, contiguous.
        query_BD: float32 on the CPU.
        k: Number of neighbours.
    """
    faiss = load_faiss()
    add_flops(2.0 * vector_KD.numel() * len(query_BD))
    return _padded(*faiss.knn(query_BD.numpy(), vector_KD.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT))


def index_search(index: Any, query_BD: Tensor, k: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return what `exact_search` does, from an index of faiss.

    Inverted lists give -inf and -1 also where the probed ones hold less than k vectors.
    """
    num_scanned = float(index.ntotal)
    if hasattr(index, "nprobe"):
        num_scanned = index.nlist + index.ntotal * min(1.0, index.nprobe / index.nlist)
    add_flops(2.0 * index.d * num_scanned * len(query_BD))
    return _padded(*index.search(query_BD.numpy(), k))


def num_lists(num_vectors: int) -> int:
    """Return the number of inverted lists, ``ceil(sqrt(K))``: finding a list then costs as much as scanning one."""
    return math.ceil(math.sqrt(num_vectors))


def num_probes(lists: int) -> int:
    """Return the number of lists that a query scans, ``ceil(sqrt(lists) / 2)``: 16 of the 1,000 of a million vectors."""
    return math.ceil(math.sqrt(lists) / 2)


def inverted_lists(vector_KD: Tensor, nprobe: int | None = None) -> Any:  # noqa: ANN401
    """Return an ``IndexIVFFlat`` with `num_lists` lists, whose centres are found by spherical k-means.

    It holds the vectors once more, as they are, so that probing all lists is an exact search.

    Args:
        vector_KD: float32 on the CPU, contiguous.
        nprobe: Lists that a query scans; by default `num_probes` of them.
    """
    faiss = load_faiss()
    num, length = vector_KD.shape
    lists = num_lists(num)
    quantizer = faiss.IndexFlatIP(length)
    index = faiss.IndexIVFFlat(quantizer, length, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # a few vectors only mean few lists, which faiss would warn of
    index.cp.max_points_per_centroid = POINTS_PER_LIST
    vectors = vector_KD.numpy()
    index.train(vectors)
    list_K = quantizer.search(vectors, 1)[1][:, 0]
    order_K = np.argsort(list_K, kind="stable")
    for number, place_M in enumerate(np.split(order_K, np.cumsum(np.bincount(list_K, minlength=lists))[:-1])):
        # list by list: index.add would let each grow by doubling, and keep up to twice the memory
        codes, ids = vectors[place_M].view(np.uint8), np.ascontiguousarray(place_M, dtype=np.int64)
        index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    index.ntotal = num
    index.nprobe = min(lists, num_probes(lists) if nprobe is None else nprobe)
    add_flops(2.0 * length * lists * (index.cp.niter * min(num, POINTS_PER_LIST * lists) + num))
    return index


def has_gpu() -> bool:
    """Return whether faiss can search on a GPU."""
    return bool(load_faiss().get_num_gpus())


def flat_on_gpu(vector_KD: Tensor, device: int, shard: bool) -> Any:  # noqa: ANN401
    """Return an exact index on the GPU; arguments as for `to_gpu`."""
    index = to_gpu(load_faiss().IndexFlatIP(vector_KD.shape[1]), device, shard)
    index.add(vector_KD.numpy())  # once it is there: no second copy in the CPU's memory
    return index


def to_gpu(index: Any, device: int, shard: bool) -> Any:  # noqa: ANN401
    """Return a copy of ``index`` on a GPU.

    Args:
        index: One of faiss's, on the CPU.
        device: Number of the GPU.
        shard: Cut it into parts for all GPUs instead.
    """
    faiss = load_faiss()
    if not shard:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device, index)
    options = faiss.GpuMultipleClonerOptions()
    options.shard = True
    return faiss.index_cpu_to_all_gpus(index, co=options)


def _padded(similarity_Bk: Any, place_Bk: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Return tensors, the similarity within [-1, 1] (rounding may lead out) or -inf: faiss pads by the lowest float."""
    place = torch.from_numpy(place_Bk)
    return torch.from_numpy(similarity_Bk).clamp(-1, 1).masked_fill(place < 0, -torch.inf), place
