"""From what breaks inside Lightning's loops to a sentence with task, step and sample rows."""

from __future__ import annotations

import re
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from continual_df.errors import TrainingError, UnreadableImageError
from continual_df.task import Task

MAX_ROWS = 64


def explain_failure(error: Exception, task: Task | None, step: int | None, rows: Sequence[int]) -> TrainingError | None:
    """Return what happened and what to do, or None where ``error`` says it itself, or only its traceback can.

    Args:
        error: What was raised.
        task: The task that is trained, or was last.
        step: Optimizer steps that it has done; None outside of training.
        rows: Sample rows of the batch.
    """
    place = _place(task, step, rows)
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return TrainingError(
            f"The device ran out of memory in {place}: {text.partition('. ')[0]}. Free it (another process may hold "
            "some), then continue with --resume; or start again with a smaller batch_size or trainer.precision bf16-mixed."
        )
    if isinstance(error, UnreadableImageError):
        # a worker sends its traceback along; the last line is the message
        message = re.sub(r"^.*UnreadableImageError: ", "", text, flags=re.DOTALL).strip()
        return TrainingError(
            f"{message} It was needed in {place}; nothing was put in its place. Restore it, then continue with --resume."
        )
    if _is_dead_worker(error):
        return TrainingError(
            f"A data worker died in {place}: {(text or type(error).__name__).splitlines()[0]} Most often memory ran out: lower "
            "data.init_args.num_workers, then continue with --resume."
        )
    return None


def _is_dead_worker(error: Exception) -> bool:
    """Return whether ``error`` says that a worker is gone, or that what it was sending broke off."""
    if isinstance(error, RuntimeError):
        return "DataLoader worker" in str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return isinstance(error, OSError | EOFError) and any("multiprocessing" in Path(at.filename).parts for at in last)


def _place(task: Task | None, step: int | None, rows: Sequence[int]) -> str:
    words = [f"task {task.number} ('{task.name}')" if task else "the beginning"]
    words += ["evaluation" if step is None else f"step {step}"]
    if rows:
        more = f" and {len(rows) - MAX_ROWS} more" if len(rows) > MAX_ROWS else ""
        words.append(f"sample rows {list(rows[:MAX_ROWS])}{more}")
    return ", ".join(words)
