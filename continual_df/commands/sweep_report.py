"""What a sweep says while it works: a line for each event, and on a terminal a line below that changes."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from datetime import timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from continual_df.commands.sweep_file import Cell
from continual_df.commands.sweep_pool import Child
from continual_df.commands.tables import number
from continual_df.evaluation.run_summary import Row

LINES = 8
"""Last lines of the log of a run that failed."""


class Report:
    """Counts and tells what happens to the runs of a sweep.

    Args:
        console: Where it is told.
        live: The line that changes; None where there is no terminal.
        workers: Runs at a time.
        waiting: Runs that may have to be made.
    """

    def __init__(self, console: Console, live: Live | None, workers: int, waiting: Iterable[Cell]) -> None:
        self.console, self.live, self.workers = console, live, workers
        self.waiting = list(waiting)
        self.total = len(self.waiting)
        self.took: list[tuple[Cell, float]] = []
        self.failed: list[Cell] = []
        self.stopped: list[Cell] = []
        self.skipped: list[Cell] = []
        self._shown = ""

    def line(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        self.console.print(text, style=style, soft_wrap=True, markup=False, highlight=False)

    def skips(self, cell: Cell, why: str) -> None:
        """Tell that a run is left to somebody else."""
        self.waiting.remove(cell)
        self.skipped.append(cell)
        self.line(f"{cell.name} is skipped: {why}")

    def loses(self, child: Child, why: str) -> None:
        """Tell that another process was faster to begin a run."""
        self.skipped.append(child.cell)
        self.line(f"{child.cell.name} is skipped: {why}")

    def begins(self, cell: Cell, how: str) -> None:
        """Tell that a run begins."""
        self.waiting.remove(cell)
        self.line(f"{cell.name} {how}")

    def finishes(self, child: Child, row: Row) -> None:
        """Tell that a run has finished."""
        self.took.append((child.cell, child.seconds))
        numbers = ", ".join(
            f"{name} {number(value)}"
            for name, value in (("average AUC", row["average_auc"]), ("forgetting", row["forgetting"]))
            if value is None or isinstance(value, float)
        )
        self.line(f"{child.cell.name} has finished in {clock(child.seconds)}: {numbers}")

    def fails(self, child: Child, why: str) -> None:
        """Tell that a run has failed, with the end of what it has printed."""
        self.failed.append(child.cell)
        self.line(
            f"{child.cell.name} has failed after {clock(child.seconds)}: {why}. The end of {child.cell.log}:", "red"
        )
        for text in child.output()[-LINES:]:
            self.line(f"  | {text}")

    def stops(self, child: Child) -> None:
        """Tell that a run has been stopped."""
        self.stopped.append(child.cell)
        self.line(f"{child.cell.name} has stopped after {clock(child.seconds)}")

    def look(self, children: list[Child], waiting: int) -> None:
        """Show where the sweep is."""
        if self.live is not None and (status := self.status(children)) != self._shown:
            self.live.update(Text(status, overflow="ellipsis", no_wrap=True), refresh=True)
            self._shown = status

    def status(self, children: list[Child]) -> str:
        """Return the line that changes."""
        running = ", ".join(f"{child.cell.name} {clock(child.seconds)}" for child in children)
        rest = rest_seconds(self.took, [(child.cell, child.seconds) for child in children], self.waiting, self.workers)
        left = f", about {clock(rest)} left" if rest is not None else ""
        ended = len(self.took) + len(self.failed) + len(self.stopped) + len(self.skipped)
        return f"{ended} of {self.total} done{left}; running: {running or 'none'}"


def rest_seconds(
    took: list[tuple[Cell, float]], running: list[tuple[Cell, float]], waiting: list[Cell], workers: int
) -> float | None:
    """Return an estimate of the seconds until all runs have ended; None before the first has.

    A run is expected to take the mean of those of its stream and method, else of its stream, else of all.

    Args:
        took: Runs that have finished, and their seconds.
        running: Runs, and the seconds since they began.
        waiting: Runs to be made.
        workers: Runs at a time.
    """
    if not took:
        return None

    def expected(cell: Cell) -> float:
        alike = [seconds for other, seconds in took if (other.stream, other.method) == (cell.stream, cell.method)]
        alike = alike or [seconds for other, seconds in took if other.stream == cell.stream]
        alike = alike or [seconds for _, seconds in took]
        return sum(alike) / len(alike)

    left = [max(expected(cell) - seconds, 0) for cell, seconds in running]
    total = sum(left) + sum(expected(cell) for cell in waiting)
    return max(total / workers, max(left, default=0))


def clock(seconds: float) -> str:
    """Return hours, minutes and seconds, such as ``1:02:03``."""
    return str(timedelta(seconds=round(seconds)))


def ending(status: int) -> str:
    """Return how a process has ended, in words."""
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
