"""The processes of a sweep, and what they leave in its CSV file."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from continual_df.commands.sweep_csv import record, recorded
from continual_df.commands.sweep_file import Cell
from continual_df.commands.sweep_pool import Child, run_all, start
from continual_df.commands.sweep_report import Report, rest_seconds
from continual_df.errors import RunFolderError
from continual_df.evaluation.run_summary import COLUMNS, Row
from continual_df.stop_signals import StopSignals

WAITS = (
    "trap 'echo saved; status=143' TERM; trap 'echo saved; status=130' INT; echo ready; "
    'while [ -z "$status" ]; do sleep 0.02; done; sleep 0.25; exit $status'
)
"""A run that saves where it is when it is told to stop."""


@pytest.fixture
def cells(tmp_path: Path) -> list[Cell]:
    return [Cell("toy", "er", seed, (), tmp_path / "toy" / "er" / f"seed_{seed}") for seed in range(4)]


def shell(script: str) -> Callable[[Cell], Child]:
    return lambda cell: start(cell, ["/bin/sh", "-c", script.format(seed=cell.seed)], {"PATH": "/usr/bin:/bin"})


def ignore(children: list[Child], waiting: int) -> None:
    """Look at nothing."""


def all_ready(children: list[Child]) -> bool:
    return all(child.output() == ["ready"] for child in children)


def test_as_many_run_at_a_time_as_there_are_workers(cells: list[Cell], tmp_path: Path) -> None:
    seen: list[int] = []
    ended: dict[int, int] = {}
    script = (
        "if [ {seed} = 0 ]; then while [ ! -e %s/go ]; do sleep 0.01; done; else echo {seed} >> %s/go; fi; exit {seed}"
    )
    begin = shell(script.replace("%s", str(tmp_path)))

    def end(child: Child, status: int) -> None:
        ended[child.cell.seed] = status

    run_all(cells, 2, StopSignals(), begin, end, lambda children, waiting: seen.append(len(children)))
    assert max(seen) == 2
    assert ended == {0: 0, 1: 1, 2: 2, 3: 3}


def test_what_needs_no_run_makes_room_for_the_next(cells: list[Cell]) -> None:
    begun: list[int] = []

    def begin(cell: Cell) -> Child | None:
        begun.append(cell.seed)
        return shell("exit 0")(cell) if cell.seed == 3 else None

    run_all(cells, 1, StopSignals(), begin, lambda *_: None, ignore)
    assert begun == [0, 1, 2, 3]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_every_run_once_and_none_begins_after(cells: list[Cell], number: int, status: int) -> None:
    ended: list[tuple[int, int]] = []
    signals = StopSignals()

    def look(children: list[Child], waiting: int) -> None:
        if not signals.received and all_ready(children):
            signal.raise_signal(number)

    with signals.handled():
        signals.defer()
        run_all(cells, 2, signals, shell(WAITS), lambda child, status: ended.append((child.cell.seed, status)), look)
    assert sorted(ended) == [(0, status), (1, status)]
    assert [cell.log.read_text() for cell in cells[:2]] == ["ready\nsaved\n"] * 2
    assert not cells[2].log.exists()


def test_no_run_outlives_a_sweep_that_breaks(cells: list[Cell]) -> None:
    children: list[Child] = []

    def look(running: list[Child], waiting: int) -> None:
        children[:] = running
        if all_ready(running):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        run_all(cells, 2, StopSignals(), shell(WAITS), lambda *_: None, look)
    assert [child.process.poll() for child in children] == [143, 143]


def test_a_child_is_out_of_reach_of_the_terminal_s_signals(cells: list[Cell]) -> None:
    child = shell("ps -o sid= -p $$; echo $$")(cells[0])
    while child.process.poll() is None:
        time.sleep(0.01)
    session, process = child.output()
    assert session.strip() == process


def test_the_output_of_a_child_is_its_own_in_a_log_of_several(cells: list[Cell]) -> None:
    for text in ("first", "second"):
        child = shell(f"echo {text}; printf 'bar 1\\rbar 2\\n'")(cells[0])
        while child.process.poll() is None:
            time.sleep(0.01)
    assert child.output() == ["second", "bar 1", "bar 2"]
    assert cells[0].log.read_text().count("first") == 1


def row(stream: str, method: str, seed: int) -> Row:
    empty: Row = {column: "" if kind is str else None for column, kind in COLUMNS.items()}
    return {**empty, "stream": stream, "method": method, "seed": seed, "average_auc": 1 / 3}


def test_rows_are_sorted_and_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new" / "rows.csv"
    record(file, [row("b", "er", 10), row("b", "er", 9)])
    record(file, [row("a", "lwf", 0), {**row("b", "er", 9), "average_auc": 0.5}])
    assert list(recorded(file)) == [("a", "lwf", 0), ("b", "er", 9), ("b", "er", 10)]
    assert [entry["average_auc"] for entry in recorded(file).values()] == [1 / 3, 0.5, 1 / 3]
    assert recorded(tmp_path / "none.csv") == {}


def test_a_file_that_is_no_table_of_runs_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(RunFolderError, match=r"rows\.csv: column 'stream' is missing"):
        record(file, [row("a", "er", 0)])
    assert file.read_text() == "a,b\n1,2\n"


def test_a_row_waits_for_another_process_that_is_writing(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    record(file, [row("a", "er", 0)])
    before = file.read_text()
    program = (
        "import fcntl, pathlib, sys, time\n"
        "lock = open(sys.argv[1], 'a')\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(0.3)\n"
        "pathlib.Path(sys.argv[2]).write_text(sys.stdin.read())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / ".rows.csv.lock"), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(before.replace(",er,0,", ",lwf,7,"))
        other.stdin.close()
        assert other.stdout.readline() == "held\n"
        record(file, [row("a", "er", 1)])
    assert list(recorded(file)) == [("a", "er", 1), ("a", "lwf", 7)]


def test_the_rest_is_estimated_from_runs_alike(cells: list[Cell]) -> None:
    def cell(stream: str, method: str) -> Cell:
        return Cell(stream, method, 0, (), Path())

    took = [(cell("a", "er"), 10.0), (cell("a", "er"), 20.0), (cell("a", "lwf"), 60.0), (cell("b", "er"), 110.0)]
    assert rest_seconds([], [], cells, 1) is None
    assert rest_seconds(took, [], [cell("a", "er")], 1) == 15  # those of stream and method
    assert rest_seconds(took, [], [cell("a", "ewc")], 1) == 30  # those of the stream
    assert rest_seconds(took, [], [cell("c", "er")], 1) == 50  # all
    assert rest_seconds(took, [(cell("a", "er"), 5.0), (cell("b", "er"), 200.0)], [cell("a", "er")] * 2, 2) == 20
    assert rest_seconds(took, [(cell("b", "er"), 10.0)], [], 2) == 100  # one run alone is not shared


def test_the_status_tells_where_the_sweep_is(cells: list[Cell]) -> None:
    report = Report(Console(quiet=True), None, 2, cells)
    child = shell("exit 0")(cells[0])
    report.begins(cells[0], "begins")
    assert report.status([child]) == "0 of 4 done; running: toy/er/seed_0 0:00:00"
    child.begun -= 60
    report.finishes(child, row("toy", "er", 0))
    report.skips(cells[1], "it is held")
    assert report.status([]) == "2 of 4 done, about 0:01:00 left; running: none"
    while child.process.poll() is None:
        time.sleep(0.01)
