"""Seconds and peak memory of reading a DeepfakeBench index of a million entries into a checked frame table.

    python benchmarks/index_json.py [--entries 1000000] [--frames 1] [--folders none|all] [--ending json|csv|parquet]

An entry is one video with its frames. ``--folders none`` lists files that do not exist (``check_files=False``);
``--folders all`` makes every folder and file (empty) below a temporary folder first, and looks for all of them, as a
real run does. The index is then read in a process of its own, whose user and system time, wall time and peak memory
are printed. With ``--ending csv`` or ``parquet`` the table is written so and read by `TableFile`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from continual_df.data.frame_table import write_table
from continual_df.data.readers import DeepfakeBench, Reader, TableFile

FOLDER = "FaceForensics++/manipulated_sequences/Deepfakes/c23/frames"


def write_index(folder: Path, entries: int, frames: int) -> Path:
    """Write the index below ``folder``, one line an entry."""
    path = folder / "FF-DF.json"
    with path.open("w", encoding="utf-8") as file:
        file.write('{"FF-DF": {"FF-DF": {"train": {"c23": {')
        for number in range(entries):
            listed = [f"deepfakes\\{FOLDER}\\{number:07d}\\{frame:03d}.png" for frame in range(frames)]
            entry = json.dumps({"label": "FF-DF", "frames": listed})
            file.write(f'{"," if number else ""}\n"{number:07d}": {entry}')
        file.write("}}}}}")
    return path


def make_files(root: Path, entries: int, frames: int) -> None:
    """Make every listed file, empty."""
    for number in range(entries):
        folder = root / FOLDER / f"{number:07d}"
        folder.mkdir(parents=number == 0)
        for frame in range(frames):
            (folder / f"{frame:03d}.png").touch()


def read(reader: Reader) -> None:
    """Read in a fresh process and print what it took."""
    memory, before, start = peak(), resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    table = reader.read()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    print(f"rows             {len(table):12,d}")
    print(f"wall time        {wall:12.1f} s")
    print(f"user time        {after.ru_utime - before.ru_utime:12.1f} s")
    print(f"system time      {after.ru_stime - before.ru_stime:12.1f} s")
    print(f"peak memory      {peak():12.2f} GB (before reading {memory:.2f} GB)")


def peak() -> float:
    """Return the process's largest resident memory in GB; ru_maxrss would count that of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--folders", choices=["none", "all"], default="none")
    parser.add_argument("--ending", choices=["json", "csv", "parquet"], default="json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index, root = write_index(folder, options.entries, options.frames), folder / "images"
        root.mkdir()
        if options.folders == "all":
            make_files(root, options.entries, options.frames)
        check = options.folders == "all"
        reader: Reader = DeepfakeBench([str(index)], str(root), check_files=check)
        if options.ending != "json":
            table, file = reader.read(), folder / f"t.{options.ending}"
            if options.ending == "csv":
                table.frame.to_csv(file, index=False)
            else:
                write_table(table, file)
            del table
            reader = TableFile(str(file), str(root), check_files=check)
        print(f"{options.entries:,} entries of {options.frames} frame(s), {index.stat().st_size / 1e6:.0f} MB of JSON")
        process = multiprocessing.get_context("spawn").Process(target=read, args=(reader,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
