"""Search time and memory of a large prototype bank, as ratios to plain faiss and to the vectors.

    OMP_NUM_THREADS=1 python benchmarks/prototype_bank.py [--prototypes 1000000] [--features 512] [--queries 1024]
        [--clusters 1000] [--spread 1.0] [--k 10] [--rounds 3]

The prototypes are ``clusters`` random directions with noise of ``spread`` times their length, and the queries are further
draws from the same clusters; ``--clusters 0`` makes both noise, in which lists find little. "Plain faiss" is
``IndexFlatIP.search``, in turns with the bank's search. Memory is resident memory beyond that of the process before,
divided by that of the vectors; Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.models.prototypes import PrototypeBank
from continual_df.models.vector_search import load_faiss, num_lists, num_probes

Found = TypeVar("Found")


def draw(num: int, centre_CD: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Return features around the centres; in pieces, so that the vectors are the largest thing in memory."""
    feature_ND = torch.empty(num, centre_CD.shape[1])
    for piece_MD in feature_ND.split(10_000):
        piece_MD.normal_(generator=generator).mul_(spread / centre_CD.shape[1] ** 0.5)
        piece_MD += centre_CD[torch.randint(len(centre_CD), (len(piece_MD),), generator=generator)]
    return feature_ND


def resident(name: str = "VmRSS") -> float:
    """Return resident memory in bytes, ``VmHWM`` for its peak since `forget_peak`."""
    if name == "VmRSS":
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what glibc keeps of the memory that making the vectors has freed
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def forget_peak() -> None:
    resident()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def timed(search: Callable[..., Found], *arguments: object) -> tuple[float, Found]:
    """Return the seconds that it takes, and what it returns."""
    start = time.perf_counter()
    found = search(*arguments)
    return time.perf_counter() - start, found


def recall(found_Bk: Tensor, nearest_Bk: Tensor) -> float:
    """Return the share of the nearest that were found."""
    hit = (found_Bk[:, :, None] == nearest_Bk[:, None, :]).any(dim=1)
    return float(hit.double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prototypes", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    num, length, k = options.prototypes, options.features, options.k

    faiss, generator = load_faiss(), torch.Generator().manual_seed(0)
    centre_CD = F.normalize(torch.randn(max(1, options.clusters), length, generator=generator), dim=1)
    centre_CD = centre_CD if options.clusters else torch.zeros(1, length)
    query_BD = draw(options.queries, centre_CD, options.spread, generator)
    unit_BD = F.normalize(query_BD, dim=1)
    warm = PrototypeBank(length)
    warm.add(query_BD, torch.zeros(len(query_BD), dtype=torch.long))
    warm.search(query_BD, k)  # what libraries allocate once is not the bank's
    size, before = 4.0 * num * length, resident()

    bank = PrototypeBank(length, exact_up_to=num)
    vector_ND = draw(num, centre_CD, options.spread, generator)
    bank.add(vector_ND, torch.zeros(num, dtype=torch.long))
    del vector_ND
    held = (resident() - before) / size
    forget_peak()
    first, (similarity, nearest) = timed(bank.search, query_BD, k)
    searching = (resident("VmHWM") - before) / size

    plain = faiss.IndexFlatIP(length)
    plain.add(bank.vector_KD.numpy())
    ours, theirs = [first], []
    for number in range(options.rounds):
        took, (expected, _) = timed(plain.search, unit_BD.numpy(), k)
        theirs.append(took)
        if number + 1 < options.rounds:
            ours.append(timed(bank.search, query_BD, k)[0])
    error = float((similarity - torch.from_numpy(expected)).abs().max())
    del plain
    exact, flat = statistics.median(ours), statistics.median(theirs)
    print(
        f"{num:,} x {length}, {options.queries:,} queries, k {k}, {torch.get_num_threads()} threads, faiss {faiss.__version__}"
    )
    print(f"{options.clusters:,} clusters, spread {options.spread:g}; vectors {size / 1e9:.2f} GB")
    print(f"exact search         {exact:8.2f} s   ratio to IndexFlatIP ({flat:.2f} s) {exact / flat:.3f}")
    print(f"  against IndexFlatIP  largest difference {error:.1e}")
    print(f"  memory             {held:8.3f} x the vectors, {searching:.3f} at the peak of a search")

    lists = num_lists(num)
    bank.exact_up_to = 0
    alone = resident()
    forget_peak()
    build, _ = timed(bank._ready_index)
    now, peak = (resident() - before) / size, (resident("VmHWM") - before) / size
    print(f"lists                {lists:8d}     {num_probes(lists)} scanned by default; made in {build:.1f} s")
    print(
        f"  memory             {now:8.3f} x, {peak:.3f} at the peak; the lists alone {(resident() - alone) / size:.3f} x"
    )
    took, (_, found) = timed(bank.search, query_BD, k)
    one, all_k = recall(found[:, :1], nearest[:, :1]), recall(found, nearest)
    print(f"  search             {took:8.2f} s   recall@1 {one:.3f}   recall@{k} {all_k:.3f}")
    bank._index.nprobe = lists
    few_BD = query_BD[:64]
    error = float((bank.search(few_BD, k)[0] - similarity[:64]).abs().max())
    print(f"  all lists scanned    largest difference to exact {error:.1e} (64 queries)")


if __name__ == "__main__":
    main()
