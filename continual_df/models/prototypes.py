"""The prototype bank: what each known method and each discovered cluster looks like, found again by faiss.

Letters: K prototypes, D features, N or M of them in a call, B queries, k neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import Self

from continual_df.errors import EmptyPrototypeError
from continual_df.labels import UNKNOWN
from continual_df.models.novelty import Novelty
from continual_df.models.vector_search import (
    MOST_ON_GPU,
    exact_search,
    flat_on_gpu,
    has_gpu,
    index_search,
    inverted_lists,
    to_gpu,
)

LEAST = 1e-6
"""Length above which a mean of unit vectors has a direction; below, they cancel out, and what is left is rounding."""

STORED = ("vector_KD", "class_K", "id_K", "count_K")


class PrototypeBank(nn.Module):
    """Prototypes of unit length, one or more for each class, searched by cosine similarity.

    Up to ``exact_up_to`` prototypes the search is exact: on the CPU by ``faiss.knn`` on ``vector_KD`` itself. Beyond, it
    goes through ``ceil(sqrt(K))`` inverted lists, of which ``nprobe`` are scanned; they hold the vectors once more. Where
    faiss has a GPU, the same indexes are there, with the same results but for rounding. An index is made by the first
    search that needs it, dropped at any change, and never saved; change the bank by its methods only.

    Attributes:
        vector_KD: Prototypes, of length 1; float32 at any precision of the model.
        class_K: Class of each: the id of a known class, or of a discovered cluster, outside of the known ids.
        id_K: Its own id, ascending; kept for as long as it is there, and never given to another.
        count_K: Number of images that it stands for.
        calibration: From the similarity to the nearest prototype to novelty.

    Args:
        num_features: Length D of the features.
        exact_up_to: Largest number of prototypes that are searched exactly.
        nprobe: Inverted lists that a query scans, at least 1; by default ``ceil(sqrt(lists) / 2)``. As many as there are
            make the search exact.
        shard: Cut the index into parts for all GPUs, instead of using that of the module.
    """

    vector_KD: Tensor
    class_K: Tensor
    id_K: Tensor
    count_K: Tensor
    next_id: Tensor

    def __init__(
        self, num_features: int, exact_up_to: int = 1_000_000, nprobe: int | None = None, shard: bool = False
    ) -> None:
        super().__init__()
        for name, value, least in (("num_features", num_features, 1), ("exact_up_to", exact_up_to, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if nprobe is not None and nprobe < 1:
            raise ValueError(f"nprobe must be at least 1, got {nprobe}")
        self.exact_up_to, self.nprobe, self.shard = exact_up_to, nprobe, shard
        self.calibration = Novelty()
        self.register_buffer("vector_KD", torch.empty(0, num_features))
        for name in ("class_K", "id_K", "count_K"):
            self.register_buffer(name, torch.empty(0, dtype=torch.long))
        self.register_buffer("next_id", torch.tensor(0))
        self._index: Any = None

    def __len__(self) -> int:
        return len(self.id_K)

    @torch.no_grad()
    def add(self, vector_ND: Tensor, class_N: Tensor, count_N: Tensor | None = None) -> Tensor:
        """Add prototypes and return their ids (N,).

        Args:
            vector_ND: Their directions; of any length but 0.
            class_N: Their classes.
            count_N: Images that each stands for, at least 1; by default 1.

        Raises:
            ValueError: A shape, a length or a count is wrong.
        """
        num, device = len(vector_ND), self.vector_KD.device
        count_N = torch.ones(num, dtype=torch.long) if count_N is None else count_N
        if vector_ND.ndim != 2 or vector_ND.shape[1] != self.vector_KD.shape[1]:
            expected = f"(N, {self.vector_KD.shape[1]})"
            raise ValueError(f"vector_ND must be of shape {expected}, got {tuple(vector_ND.shape)}")
        if class_N.shape != (num,) or count_N.shape != (num,):
            shapes = f"{tuple(class_N.shape)} and {tuple(count_N.shape)}"
            raise ValueError(f"class_N and count_N must be of shape ({num},) as there are {num} vectors, got {shapes}")
        if (count_N < 1).any():
            raise ValueError(f"count_N must be at least 1, got {int(count_N.min())}")
        vector_ND = vector_ND.to(device, torch.float32)
        length_N1 = _lengths(vector_ND)
        vector_KD = self.vector_KD.new_empty(len(self) + num, vector_ND.shape[1])
        vector_KD[: len(self)] = self.vector_KD
        torch.div(vector_ND, length_N1, out=vector_KD[len(self) :])  # no third copy of a large bank
        id_N = self.next_id + torch.arange(num, device=device)
        added = {"class_K": class_N, "id_K": id_N, "count_K": count_N}
        joined = {name: torch.cat([getattr(self, name), value.to(self.id_K)]) for name, value in added.items()}
        self._take({"vector_KD": vector_KD, **joined})
        self.next_id += num
        return id_N

    @torch.no_grad()
    def move(self, id: int, vector_D: Tensor, momentum: float = 0.9, count: int = 1) -> None:
        """Move a prototype towards images: ``p <- m p + (1 - m) z``, both of unit length and so the result.

        Args:
            id: The prototype.
            vector_D: Direction z of an image, or of the mean of several.
            momentum: m in [0, 1].
            count: Number of images that it stands for from now on and did not before, at least 0.

        Raises:
            ValueError: There is no such prototype, ``momentum`` or ``count`` is out of range, or z has no direction.
        """
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {momentum}")
        place = self._places([id])
        vector_1D = vector_D[None].to(self.vector_KD)
        mean_1D = momentum * self.vector_KD[place] + (1 - momentum) * vector_1D / _lengths(vector_1D)
        self.vector_KD[place] = mean_1D / _lengths(mean_1D, LEAST)
        self.count_K[place] += count
        self._index = None

    @torch.no_grad()
    def merge(self, id_a: int, id_b: int) -> None:
        """Put prototype b into a, which keeps id and class: their mean, weighed by their counts, at unit length.

        Raises:
            ValueError: They are one, one is not there, or their mean has no direction.
        """
        if id_a == id_b:
            raise ValueError(f"a prototype cannot be merged with itself, got {id_a} twice")
        places = self._places([id_a, id_b])
        count_2 = self.count_K[places]
        mean_1D = (count_2 / count_2.sum())[None] @ self.vector_KD[places]
        self.vector_KD[places[:1]] = mean_1D / _lengths(mean_1D, LEAST)
        self.count_K[places[0]] = count_2.sum()
        self.remove([id_b])

    @torch.no_grad()
    def remove(self, ids: Tensor | Sequence[int]) -> None:
        """Remove prototypes; the others keep their ids.

        Raises:
            ValueError: One is not there.
        """
        kept_K = torch.ones(len(self), dtype=torch.bool, device=self.id_K.device)
        kept_K[self._places(ids)] = False
        self._take({name: getattr(self, name)[kept_K] for name in STORED})

    @torch.no_grad()
    def relabel(self, ids: Tensor | Sequence[int], class_id: int) -> None:
        """Give prototypes another class, as when a discovered cluster gets a name.

        Raises:
            ValueError: One is not there.
        """
        self.class_K[self._places(ids)] = class_id

    def classes(self, id_Bk: Tensor) -> Tensor:
        """Return the classes of prototypes, of any shape, and `UNKNOWN` for the id -1 that pads a search.

        Raises:
            ValueError: One is not there.
        """
        class_Bk = torch.full_like(id_Bk, UNKNOWN)
        class_Bk[id_Bk >= 0] = self.class_K[self._places(id_Bk[id_Bk >= 0])].to(id_Bk.device)
        return class_Bk

    @torch.no_grad()
    def search(
        self, query_BD: Tensor, k: int = 1, class_ids: Tensor | Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (similarity_Bk, id_Bk) of the k nearest prototypes, nearest first, on the device of the queries.

        The similarity is ``cos(z, p)`` in [-1, 1], 0 for a query of length 0. Equal ones come in any order. Where fewer
        than k are found, it is -inf and the id -1.

        Args:
            query_BD: Features z.
            k: Number of neighbours, at least 1. More than 2,048 are always searched for on the CPU, exactly.
            class_ids: Search among prototypes of these classes only, exactly and on the CPU, on a copy of them.

        Raises:
            EmptyPrototypeError: There is nothing to search.
            ValueError: A query is not finite, its length is not D, or k is out of range.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        if query_BD.ndim != 2 or query_BD.shape[1] != self.vector_KD.shape[1]:
            expected = f"(B, {self.vector_KD.shape[1]})"
            raise ValueError(f"query_BD must be of shape {expected}, got {tuple(query_BD.shape)}")
        infinite_B = ~query_BD.isfinite().all(dim=1)
        if infinite_B.any():
            raise ValueError(f"queries must be finite, those of rows {infinite_B.nonzero()[:, 0].tolist()} are not")
        unit_BD = F.normalize(query_BD.float(), dim=1).cpu().contiguous()
        if class_ids is None:
            id_K, vector_KD = self.id_K, self.vector_KD
        else:
            own_K = torch.isin(self.class_K, torch.as_tensor(class_ids).to(self.class_K))
            id_K, vector_KD = self.id_K[own_K], self.vector_KD[own_K]
        if not len(id_K):
            of = "" if class_ids is None else f" of the classes {torch.as_tensor(class_ids).tolist()}"
            raise EmptyPrototypeError(f"The bank holds no prototypes{of}: search it after the end of the first task.")
        index = self._ready_index() if class_ids is None and k <= MOST_ON_GPU else None
        found = exact_search(vector_KD.cpu(), unit_BD, k) if index is None else index_search(index, unit_BD, k)
        similarity_Bk, place_Bk = (value.to(query_BD.device) for value in found)
        id_Bk = id_K.to(query_BD.device)[place_Bk.clamp(min=0)].masked_fill(place_Bk < 0, -1)
        return similarity_Bk, id_Bk

    def novelty(self, query_BD: Tensor, class_ids: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return novelty_B in [0, 1]: ``calibration`` of the similarity to the nearest prototype; arguments as for `search`."""
        novelty_B: Tensor = self.calibration(self.search(query_BD, 1, class_ids)[0][:, 0])
        return novelty_B

    def _ready_index(self) -> Any:  # noqa: ANN401
        """Return the index of all prototypes; None where ``vector_KD`` itself is searched."""
        if self._index is None:
            vector_KD, device = self.vector_KD.cpu(), self.vector_KD.device.index or 0
            exact, on_gpu = len(self) <= self.exact_up_to, has_gpu()
            if exact and on_gpu:
                self._index = flat_on_gpu(vector_KD, device, self.shard)
            elif not exact:
                index = inverted_lists(vector_KD, self.nprobe)
                on_gpu = on_gpu and index.nprobe <= MOST_ON_GPU
                self._index = to_gpu(index, device, self.shard) if on_gpu else index
        return self._index

    def _places(self, ids: Tensor | Sequence[int]) -> Tensor:
        """Return where the prototypes of ``ids`` are."""
        id_M = torch.as_tensor(ids).to(self.id_K)
        place_M = torch.searchsorted(self.id_K, id_M)
        there_M = torch.isin(id_M, self.id_K)
        if not there_M.all():
            raise ValueError(f"the bank holds no prototypes {sorted({*id_M[~there_M].tolist()})}")
        return place_M

    def _take(self, values: dict[str, Tensor]) -> None:
        """Put ``values`` in place of the buffers."""
        for name, value in values.items():
            setattr(self, name, value)
        self._index = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move to another device, but stay float32: half precision would blur the similarities."""
        vector_KD = self.vector_KD
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._take({"vector_KD": vector_KD.to(self.vector_KD.device)})
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:  # noqa: ANN401
        """Take as many prototypes as were saved: the tasks do not say how many."""
        for name in STORED:
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            if saved is not None and saved.shape[1:] == own.shape[1:]:
                setattr(self, name, own.new_empty(saved.shape))
        self._index = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_index": None}  # derived, and one on a GPU cannot be copied


def _lengths(vector_ND: Tensor, least: float = 0.0) -> Tensor:
    """Return the lengths (N, 1), refusing those that give no direction."""
    length_N1: Tensor = torch.linalg.vector_norm(vector_ND, dim=1, keepdim=True)
    wrong_N = ~(length_N1.isfinite() & (length_N1 > least))[:, 0]
    if wrong_N.any():
        row = int(wrong_N.nonzero()[0])
        raise ValueError(
            f"a vector has a direction if it is finite and longer than {least:g}; that of row {row} is "
            f"{float(length_N1[row]):g} long"
        )
    return length_N1
