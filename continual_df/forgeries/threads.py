"""One thread for numerical libraries: sums then come out the same on any machine, and processes do not fight for cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2
import threadpoolctl


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Hold opencv and the BLAS to one thread, and give them back."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(before)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Hold torch to one thread, and give it back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
