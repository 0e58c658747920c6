"""What a piece of work has cost, and how much memory the process has taken."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

EVALUATION_PHASES = ("validate", "predict")
"""Phases that measure a learner and are no part of what it spends to learn."""

NOT_LEARNING = (*EVALUATION_PHASES, "pretrain")
"""Phases that are no part of what a run spends on its stream: what its weights cost before is a number of its own."""


@dataclass
class Cost:
    """What one phase of one task has cost.

    Attributes:
        flops: Floating-point operations.
        seconds: Wall time, without phases nested inside. CUDA runs behind the program: there the time of a kernel goes
            to the phase that waits for it.
        images: Images gone through, each as often as it was.
        steps: Batches; a batch with replayed rows is one step, of ``train``.
        peak_rss_bytes: Largest resident memory of the process up to the end of the phase; None on Windows.
        peak_cuda_bytes: Largest memory allocated by torch on its CUDA device during the phase; None without CUDA.
    """

    flops: float = 0.0
    seconds: float = 0.0
    images: int = 0
    steps: int = 0
    peak_rss_bytes: int | None = None
    peak_cuda_bytes: int | None = None

    def add(self, other: Cost, *, parallel: bool = False) -> None:
        """Add ``other``: memory by the maximum; where both ran in ``parallel``, seconds and steps too."""
        self.flops += other.flops
        self.images += other.images
        self.seconds = max(self.seconds, other.seconds) if parallel else self.seconds + other.seconds
        self.steps = max(self.steps, other.steps) if parallel else self.steps + other.steps
        self.peak_rss_bytes = largest(self.peak_rss_bytes, other.peak_rss_bytes)
        self.peak_cuda_bytes = largest(self.peak_cuda_bytes, other.peak_cuda_bytes)


@dataclass
class Sizes:
    """How large a learner is while it trains a task, and what it has in store after it.

    Attributes:
        total: Its parameters, those of teachers among them.
        trainable: Those that the optimizer moves.
        added: How many more there are than in the task before.
        stored_bytes: By kind (``model``, ``teacher``, ``past_models``): parameters and buffers.
    """

    total: int = 0
    trainable: int = 0
    added: int = 0
    stored_bytes: dict[str, int] = field(default_factory=dict)


def largest(a: int | None, b: int | None) -> int | None:
    """Return the larger of two readings, of which either may be missing."""
    return max((x for x in (a, b) if x is not None), default=None)


def peak_rss() -> int | None:
    """Return the largest resident memory that this process has had, in bytes."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere
