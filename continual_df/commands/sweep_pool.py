"""Several runs at a time, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from continual_df.commands.sweep_file import Cell
from continual_df.errors import WriteError
from continual_df.stop_signals import StopSignals

PAUSE = 0.1
"""Seconds between two looks at the processes."""


class Process(Protocol):
    """What is asked of a process; `subprocess.Popen` has it."""

    def poll(self) -> int | None:
        """Return the exit status, or minus the signal that ended it; None before."""

    def send_signal(self, sig: int, /) -> None:
        """Send a signal."""


@dataclass
class Child:
    """A run in its process.

    Attributes:
        cell: The run.
        process: Its process.
        begun: When it was started, on the monotonic clock.
        offset: Where its output begins in the log, which holds that of earlier ones too.
    """

    cell: Cell
    process: Process
    begun: float
    offset: int

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.begun

    def output(self) -> list[str]:
        """Return the lines that it has printed."""
        with self.cell.log.open("rb") as file:
            file.seek(self.offset)
            text = file.read().decode(errors="replace")
        return [line.rstrip() for line in text.replace("\r", "\n").splitlines() if line.strip()]


def start_process(command: list[str], log: Path, environment: dict[str, str]) -> Process:
    """Start ``command``, whose output is added to ``log``.

    It gets a session of its own: Ctrl-C in a terminal goes to all processes of a group, and together with the signal
    that is handed on it would be the second, on which a run ends without saving.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def start(cell: Cell, command: list[str], environment: dict[str, str]) -> Child:
    """Start the process of ``cell``.

    Raises:
        WriteError: If its log cannot be written.
    """
    try:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        offset = cell.log.stat().st_size if cell.log.exists() else 0
        return Child(cell, start_process(command, cell.log, environment), time.monotonic(), offset)
    except OSError as error:
        raise WriteError(cell.log, error) from error


def run_all(
    cells: Iterable[Cell],
    workers: int,
    signals: StopSignals,
    begin: Callable[[Cell], Child | None],
    end: Callable[[Child, int], None],
    look: Callable[[list[Child], int], None],
) -> None:
    """Run ``cells`` in order, ``workers`` at a time, until all have ended or a signal has come, which they get too.

    Args:
        cells: The runs.
        workers: How many run at a time.
        signals: Receives the signal; deferred.
        begin: Starts a run, or returns None where there is nothing to do.
        end: Told each child that has ended, and how.
        look: Shown the children, and how many runs wait, several times a second.
    """
    waiting, children = deque(cells), list[Child]()
    handed_on = False
    try:
        while children or (waiting and not signals.received):
            while waiting and len(children) < workers and not signals.received:
                if child := begin(waiting.popleft()):
                    children.append(child)
            if signals.received and not handed_on:
                _send(children, signals.received)
                handed_on = True
            look(children, len(waiting))
            time.sleep(PAUSE)
            for child in list(children):
                if (status := child.process.poll()) is not None:
                    children.remove(child)
                    end(child, status)
    except BaseException:  # whatever it was: no run may go on unseen
        _send(children, signal.SIGTERM)
        while any(child.process.poll() is None for child in children):
            time.sleep(PAUSE)
        raise


def _send(children: list[Child], number: int) -> None:
    for child in children:
        child.process.send_signal(number)
