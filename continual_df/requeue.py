"""Hands a job back to its queue between two batches, through the handler of Lightning's cluster plugin."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Trainer

from continual_df.files import remove
from continual_df.ranks import is_writer

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""Those of which Lightning's SLURMEnvironment takes one, where auto-requeueing is on."""


class Requeue:
    """Keeps the signal of a cluster that wants its machine back until a batch has ended.

    Lightning's handler saves and requeues in the middle of whatever runs; what it saves there cannot be continued
    exactly.

    Attributes:
        asked: Whether the signal has come.
    """

    def __init__(self) -> None:
        self.asked = False
        self._handler: Callable[[int, FrameType | None], Any] | None = None
        self._number = 0

    def take(self) -> None:
        """Put ourselves before a handler that is there."""
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler) and handler != self._note:
                self._handler, self._number = handler, number
                signal.signal(number, self._note)

    def run(self, trainer: Trainer) -> None:
        """Do what the handler does, but keep no checkpoint of its own.

        On a cluster, Lightning would load that file in every later fit and prediction that names none.
        """
        self.asked = False
        if self._handler is not None:
            self._handler(self._number, None)
        if is_writer():
            for path in Path(trainer.default_root_dir).glob("hpc_ckpt_*.ckpt"):
                remove(path)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
