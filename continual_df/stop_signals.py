"""SIGINT and SIGTERM ask a run to stop; it does so where nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from continual_df.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Turns a signal into `Interrupted`: at once, or, after `defer`, when the work looks at `received`.

    A second signal ends the process at once, without cleaning up.

    Attributes:
        received: The signal that came, 0 before.
    """

    def __init__(self) -> None:
        self.received = 0
        self._deferred = False
        self._handling = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals inside; only the main thread can."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._handling = True
        self._install()
        try:
            yield
        finally:
            self._handling = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def defer(self) -> None:
        """From here on, a signal only sets `received`."""
        self._deferred = True
        self.take_back()

    def take_back(self) -> None:
        """Handle the signals again, where somebody (Lightning's Trainer) has put another handler before ours."""
        if self._handling:
            self._install()

    def act(self) -> None:
        """From here on, a signal stops the run at once; so does one that came before.

        Raises:
            Interrupted: If one came.
        """
        self._deferred = False
        if self.received:
            raise Interrupted(self.received)

    def _install(self) -> None:
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            os._exit(128 + number)
        self.received = number
        if not self._deferred:
            raise Interrupted(number)
