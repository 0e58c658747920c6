"""Jobs over processes, or in this one: the same results in any case, in the order in which they are ready."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import cv2
import threadpoolctl

from continual_df.forgeries.threads import one_thread

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Called with a function and its jobs, yields the results."""


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Run]:
    """Give a function that runs jobs in ``workers`` spawned processes of one thread each; 1 means this process."""
    if workers == 1:
        with one_thread():
            yield lambda function, jobs: (function(job) for job in jobs)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start)

    def run(function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[Any]:
        for future in as_completed([pool.submit(function, job) for job in jobs]):
            yield future.result()

    try:
        yield run
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Hold this process to one thread, libraries that are imported later included."""
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    threadpoolctl.threadpool_limits(1)
