"""Keeps what libraries say to programmers away from users."""

from __future__ import annotations

import logging
import warnings

QUIET = (
    ".*LeafSpec.*",
    ".*number of training batches.*logging interval.*",
    ".*does not have many workers.*",
    ".*LightningCLI.s args parameter.*",
    ".*module.s. in eval mode at the start of training.*",  # a teacher stays in it
    ".*resuming from a checkpoint that ended before the epoch ended.*",  # our sampler starts at the position
    ".*Checkpoint directory .* exists and is not empty.*",  # it is the resumed run's own
)
"""Warnings of libraries that tell a user nothing that they could act on."""


def quieten() -> None:
    """Leave out Lightning's notes and `QUIET`, in this process."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for pattern in QUIET:
        warnings.filterwarnings("ignore", pattern)
