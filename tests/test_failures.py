from __future__ import annotations

import multiprocessing
import multiprocessing.connection
from typing import Any

import pytest
import torch

from continual_df.errors import NonFiniteLossError, UnreadableImageError
from continual_df.failures import explain_failure
from continual_df.task import Task

TASK = Task(1, "smooth", ("smooth",), (), {"real": 0, "smooth": 1}, 1)


def broken_off() -> Exception:
    """Return what a read from a process that has gone ends in."""
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises((EOFError, OSError)) as caught:
        ours.recv_bytes()
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to"),
            "The device ran out of memory in {}: CUDA out of memory",
        ),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "The device ran out of memory in {}: "),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nMore"),
            "A data worker died in {}: DataLo",
        ),
        (broken_off(), "A data worker died in {}: "),
        (
            UnreadableImageError("'a.png' cannot be read."),
            "'a.png' cannot be read. It was needed in {}; nothing was put",
        ),
        (
            UnreadableImageError(
                "Caught UnreadableImageError in worker.\nTrace\nx.UnreadableImageError: 'a.png' is bad."
            ),
            "'a.png' is bad. It was needed in {}; nothing was put in its place.",
        ),
    ],
)
def test_what_breaks_is_told_with_task_step_and_rows(error: Exception, expected: str) -> None:
    said = str(explain_failure(error, TASK, 7, [3, 5]))
    assert said.startswith(expected.format("task 2 ('smooth'), step 7, sample rows [3, 5]")), said
    assert "\n" not in said
    assert "--resume" in said


@pytest.mark.parametrize(
    "error", [NonFiniteLossError("x"), RuntimeError("shapes"), FileNotFoundError("x"), ValueError("y")]
)
def test_what_says_it_itself_or_is_a_mistake_in_the_program_stays_as_it_is(error: Exception) -> None:
    assert explain_failure(error, TASK, 7, [3]) is None


def test_many_rows_are_counted(tmp_path: Any) -> None:
    said = str(explain_failure(torch.OutOfMemoryError("x"), None, None, list(range(70))))
    assert "in the beginning, evaluation, sample rows [0, 1, " in said
    assert "63] and 6 more" in said
