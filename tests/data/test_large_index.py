"""An index of a million entries within 20 s and 2 GB: its cost by entry at a small scale, and the whole as `slow`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from continual_df.data.readers import DeepfakeBench

BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "index_json.py"


def index_of(folder: Path, entries: int) -> Path:
    videos = {f"{n:07d}": {"label": "FF-DF", "frames": [f"DF\\c23\\frames\\{n:07d}\\000.png"]} for n in range(entries)}
    path = folder / f"{entries}.json"
    path.write_text(json.dumps({"FF-DF": {"FF-DF": {"train": {"c23": videos}}}}))
    return path


def peak_of(folder: Path, entries: int) -> int:
    """Return the bytes that reading takes at most."""
    reader = DeepfakeBench([str(index_of(folder, entries))], str(folder), check_files=False)
    tracemalloc.start()
    assert len(reader.read()) == entries
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_grows_with_the_entries_and_stays_below_two_kilobytes_each(tmp_path: Path) -> None:
    peak_of(tmp_path, 100)  # what is made once
    small, large = peak_of(tmp_path, 5_000), peak_of(tmp_path, 20_000)
    assert large < 2_000 * 20_000
    assert large < 4.6 * small


def test_calls_grow_with_the_entries_and_not_with_their_square(tmp_path: Path) -> None:
    def calls_of(entries: int) -> int:
        reader = DeepfakeBench([str(index_of(tmp_path, entries))], str(tmp_path), check_files=False)
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            reader.read()
        finally:
            sys.setprofile(None)
        return calls

    calls_of(100)
    small, large = calls_of(2_000), calls_of(8_000)
    assert large < 4.4 * small
    assert large < 250 * 8_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape", [["--entries", "1000000"], ["--entries", "31250", "--frames", "32", "--folders", "all"]]
)
def test_a_million_frames_are_read_within_20_seconds_and_2_gigabytes(shape: list[str]) -> None:
    ran = subprocess.run([sys.executable, str(BENCHMARK), *shape], check=True, capture_output=True, text=True)
    found = {
        name.strip(): float(value.replace(",", ""))
        for name, value in re.findall(r"^(\w+ ?\w*) +([\d,.]+)", ran.stdout, re.MULTILINE)
    }
    assert found["rows"] == 1_000_000
    assert found["user time"] + found["system time"] < 20  # wall time would count what else the machine does
    assert found["peak memory"] < 2
