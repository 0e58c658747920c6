"""A disk that is full, read-only or damaged: one clear sentence, and the last good state stays."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from tests.small_runs import ForkServer, SmallRuns, small_config


@pytest.fixture(scope="module")
def runs(fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRuns:
    return SmallRuns(fork_server, tmp_path_factory.mktemp("disk"), small_config(small_table))


def sentence(runs: SmallRuns, name: str) -> str:
    """Return the one sentence with which a run has ended."""
    lines = [line for line in runs.log(name).splitlines() if not line.startswith(("Seed set", "task "))]
    assert len(lines) == 1, runs.log(name)
    return lines[0]


def refuse(runs: SmallRuns, name: str, code: int, call: int) -> None:
    assert runs.start(name, call=call, errno=code).status == 2, runs.log(name)
    why = re.escape(f"could not be written ({errno_text(code)}); what was there before is left as it was.")
    assert re.fullmatch(rf"continual-df run: '\S+' {why} .* 'continual-df run --resume'\.", sentence(runs, name))
    runs.check(name)


def errno_text(code: int) -> str:
    return {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}[code]


@pytest.mark.parametrize(("code", "share"), [(errno.ENOSPC, 0.6), (errno.EROFS, 0.3)])
def test_a_disk_that_refuses_is_one_sentence_and_the_run_goes_on_later(
    runs: SmallRuns, code: int, share: float
) -> None:
    refuse(runs, f"{code}at{share}", code, int(share * runs.whole.calls))


@pytest.mark.slow
@pytest.mark.parametrize(("code", "stride"), [(errno.ENOSPC, 1), (errno.EROFS, 5)])
def test_a_disk_that_refuses_any_write_is_one_sentence(runs: SmallRuns, code: int, stride: int) -> None:
    for call in range(0, runs.whole.calls - 1, stride):
        refuse(runs, f"{code}write{call}", code, call)


@pytest.mark.parametrize("size", [3000, 12000])
def test_a_file_that_cannot_grow_is_one_sentence(runs: SmallRuns, size: int) -> None:
    name = f"size{size}"
    assert runs.start(name, size=size).status == 2, runs.log(name)
    assert re.search(r"could not be written \(.*File too large\); what was there before", sentence(runs, name))
    assert not list((runs.folder / name).rglob(".partial*"))
    runs.check(name)


def kill_within_second_task(runs: SmallRuns) -> str:
    """Return a run that was killed when the second task was training and had as many checkpoints as are kept."""
    for share in (0.7, 0.66, 0.74, 0.62, 0.78, 0.58, 0.54):
        name = f"within{share}"
        runs.start(name, call=int(share * runs.whole.calls))
        found = sorted(path.stem for path in (runs.folder / name / "steps" / "2").glob("*"))
        if len(found) == 2 and all(re.fullmatch(r"step_\d+", stem) for stem in found):
            return name
    raise AssertionError(runs.whole.calls)


def test_a_damaged_checkpoint_is_refused_with_the_name_of_the_one_before(runs: SmallRuns) -> None:
    name = kill_within_second_task(runs)
    run = runs.folder / name
    steps = sorted((run / "steps" / "2").iterdir())
    content = bytearray(steps[1].read_bytes())
    content[len(content) // 2] ^= 1
    steps[1].write_bytes(content)
    assert runs.resume(name).status == 2
    assert f"'{steps[1]}' is damaged" in runs.log(name)
    assert f"Remove it to continue from '{steps[0]}'." in runs.log(name)
    steps[1].unlink()
    steps[0].write_bytes(steps[0].read_bytes()[:100])
    assert runs.resume(name).status == 2
    assert f"Remove it to continue from '{run / 'tasks' / '1'}'." in runs.log(name)
    steps[0].unlink()
    task = run / "tasks" / "1" / "checkpoint.ckpt"
    whole = task.read_bytes()
    task.write_bytes(whole[:-1])
    assert runs.resume(name).status == 2
    assert f"Remove the folder '{task.parent}' to continue from the beginning of the stream." in runs.log(name)
    task.write_bytes(whole)
    runs.check(name)


def test_metrics_that_are_shorter_than_the_state_says_are_refused(runs: SmallRuns) -> None:
    assert runs.start("short", call=int(0.8 * runs.whole.calls)).status == -9
    metrics = runs.folder / "short" / "metrics.csv"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:20])
    assert runs.resume("short").status == 2
    assert "metrics.csv' has 20 bytes, but the state to resume from was saved when it had" in runs.log("short")
    metrics.write_bytes(whole)
    runs.check("short")
