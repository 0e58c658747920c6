"""``continual-df sweep``: the runs of a grid of methods, streams and seeds."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from continual_df.errors import ContinualDFError, Interrupted, RunFolderError

if TYPE_CHECKING:
    from rich.console import Console

    from continual_df.commands.sweep_file import Cell, Sweep
    from continual_df.commands.sweep_pool import Child
    from continual_df.commands.sweep_report import Report
    from continual_df.commands.sweep_state import State
    from continual_df.stop_signals import StopSignals

FAILED = 1
"""Exit status where a run failed; 2 is for a sweep that cannot begin."""


def main(argv: list[str]) -> int:
    """Make the runs of the sweep that ``argv`` names, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="continual-df sweep",
        description="Make the runs of a grid: methods x streams x seeds. Finished runs are skipped and broken ones go on, so "
        "the same command continues a sweep that was stopped. Each finished run leaves a row in a CSV file.",
    )
    parser.add_argument("file", metavar="FILE", help="YAML file with streams, methods and seeds; see the README")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KEY=VALUE", help="a part: stream=date method=er,joint seed=0"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time (default: as the file says)")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and how far they are, and stop")
    parser.add_argument(
        "--skip-recorded", action="store_true", help="skip runs with a row in the CSV whose folders are gone"
    )
    arguments = parser.parse_args(argv)
    if arguments.workers is not None and arguments.workers < 1:
        parser.error(f"--workers must be at least 1, got {arguments.workers}")

    from rich.console import Console

    from continual_df.stop_signals import StopSignals

    console, signals = Console(highlight=False, soft_wrap=True), StopSignals()
    try:
        with signals.handled():
            return _sweep(arguments, console, signals)
    except Interrupted as stop:
        console.print(f"Stopped by {signal.Signals(stop.signum).name}. The same command goes on.")
        return 128 + stop.signum


def _sweep(arguments: argparse.Namespace, console: Console, signals: StopSignals) -> int:
    from continual_df.commands.quiet import quieten
    from continual_df.commands.stream_cli import find_packaged
    from continual_df.commands.sweep_csv import is_of_run, key_of, record, recorded, row_of
    from continual_df.commands.sweep_file import read_sweep, select_cells
    from continual_df.commands.sweep_state import State, state_of

    quieten()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells each seed
    sweep = read_sweep(Path(find_packaged(["--config", arguments.file])[1]))
    cells = select_cells(sweep.cells, arguments.only)
    states = {cell: state_of(cell.folder) for cell in cells}
    rows = recorded(sweep.csv)
    if arguments.skip_recorded:
        gone = [cell for cell in cells if states[cell].step == "to do" and key_of(cell) in rows]
        states |= dict.fromkeys(gone, State("finished", f"its folder is gone, its row is in {sweep.csv}"))
    refused = _refusals(sweep, states)
    if arguments.dry_run:
        for cell, state in states.items():
            console.print(f"{cell.name:<40} {refused.get(cell, state)}", markup=False)
        return 0
    if refused:
        first, *others = refused.values()
        more = f" So were {len(others)} more: --dry-run lists them." if others else ""
        raise RunFolderError(f"{first}{more}")
    finished = [cell for cell, state in states.items() if state.step == "finished" and not state.detail]
    if missing := [row_of(cell) for cell in finished if not is_of_run(rows.get(key_of(cell)), cell)]:
        record(sweep.csv, missing)
        console.print(f"{len(missing)} finished before: put into {sweep.csv}", markup=False)
    counts = Counter(state.step for state in states.values())
    console.print(f"{len(cells)} runs: {', '.join(f'{count} {step}' for step, count in counts.items())}")
    signals.defer()
    report = _run(
        sweep, [cell for cell in cells if states[cell].step != "finished"], arguments.workers, console, signals
    )
    return _end(report, sweep, signals)


def _refusals(sweep: Sweep, states: dict[Cell, State]) -> dict[Cell, str]:
    """Return what keeps runs that are there from being taken for the sweep's; check the settings of all others."""
    from continual_df.commands.sweep_recipe import refuse_other_recipe, resolved_settings

    refused, checked = {}, set()
    for cell, state in states.items():
        is_there = state.step == "broken" or (state.step == "finished" and not state.detail)
        if is_there or cell.configs not in checked:
            settings = resolved_settings(cell, sweep.environment)
            checked.add(cell.configs)
            if is_there:
                try:
                    refuse_other_recipe(cell, settings)
                except RunFolderError as error:
                    refused[cell] = str(error)
    return refused


def _run(sweep: Sweep, cells: list[Cell], workers: int | None, console: Console, signals: StopSignals) -> Report:
    """Run ``cells`` and return what has come of them."""
    from rich.live import Live

    from continual_df.commands.sweep_csv import record, row_of
    from continual_df.commands.sweep_pool import run_all, start
    from continual_df.commands.sweep_report import Report, ending
    from continual_df.commands.sweep_state import state_of

    workers = workers or sweep.workers
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    report = Report(console, live, workers, cells)
    command = [sys.executable, "-m", "continual_df.cli", "run"]
    environment = {**os.environ, **sweep.environment}

    def begin(cell: Cell) -> Child | None:
        state = state_of(cell.folder)  # another sweep may have made it since
        if state.step in ("held", "finished"):
            report.skips(cell, f"it is {state}")
            return None
        report.begins(cell, f"goes on: {state.detail}" if state.step == "broken" else "begins")
        how = ["--resume", str(cell.folder)] if state.step == "broken" else cell.settings
        return start(cell, [*command, *how], environment)

    def end(child: Child, status: int) -> None:
        state = state_of(child.cell.folder)
        if status == 0 and state.step == "finished":
            try:
                row = row_of(child.cell)
                record(sweep.csv, [row])
            except ContinualDFError as error:
                report.fails(child, str(error))
            else:
                report.finishes(child, row)
        elif signals.received and status in (-signals.received, 128 + signals.received):
            report.stops(child)
        elif state.step == "held":
            report.loses(child, f"it is {state}")
        else:
            report.fails(child, ending(status) if status else f"it has ended, but is {state}")

    with live or contextlib.nullcontext():
        run_all(cells, workers, signals, begin, end, report.look)
    return report


def _end(report: Report, sweep: Sweep, signals: StopSignals) -> int:
    """Tell how the sweep has ended and return the exit status."""
    counts = {
        "finished": len(report.took),
        "failed": len(report.failed),
        "skipped": len(report.skipped),
        "stopped": len(report.stopped),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    report.line(f"{told or 'nothing to do'}; the rows are in {sweep.csv}", "bold")
    for cell in report.failed:
        report.line(f"failed: {cell.log}", "red")
    if signals.received:
        name = signal.Signals(signals.received).name
        report.line(f"Stopped by {name}: the runs have saved where they were, and the same command goes on.")
        return 128 + signals.received
    return FAILED if report.failed else 0
