from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from continual_df.errors import RunFolderError, WriteError
from continual_df.run_lock import run_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from continual_df.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    if os.fork() == 0:  # a data worker, which outlives its parent for some seconds
        time.sleep(30)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of ``tmp_path``, with a child of its own."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_second_process_is_refused_until_the_first_is_dead_though_its_children_live(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunFolderError, match=rf"is being written by process {holder.pid} on "), run_lock(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with run_lock(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()


def test_the_lock_is_free_again_and_the_folder_is_made(tmp_path: Path) -> None:
    for _ in range(2):
        with run_lock(tmp_path / "runs" / "x"):
            pass


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="could not be written"), run_lock(tmp_path / "file" / "x"):
        pass
