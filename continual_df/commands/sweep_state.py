"""How far a run of a sweep is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from continual_df.errors import RunFolderError
from continual_df.evaluation.run_summary import what_is_missing
from continual_df.run_lock import lock_owner

Step = Literal["finished", "broken", "to do", "held"]


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        step: ``finished``; ``broken``: begun, and by nobody continued; ``to do``; ``held``: another process writes it.
        detail: What a broken run lacks, or who holds it.
    """

    step: Step
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.step} ({self.detail})" if self.detail else self.step


def state_of(run: Path) -> State:
    """Return the state of the run in folder ``run``."""
    if owner := lock_owner(run):
        return State("held", owner)
    if not (run / "config.yaml").is_file():
        return State("to do")
    lacking = _what_is_missing(run)
    return State("broken", lacking) if lacking else State("finished")


def _what_is_missing(run: Path) -> str | None:
    if not (run / "stream.json").is_file():
        return "it has not read its data yet"
    try:
        lacking = what_is_missing(run)
    except RunFolderError as error:
        return str(error)
    return lacking if lacking or (run / "results.json").is_file() else "it has no results.json"  # written last
