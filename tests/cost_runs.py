"""What runs have paid, made up: ``compute.json``, validation curves and sources of weights, as the loop leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Phases = Mapping[str, float]


def write_costs(
    run: Path,
    tasks: Sequence[Phases],
    *,
    sizes: Mapping[str, Any] | None = None,
    schema: int = 2,
    notes: Sequence[str] = (),
) -> Path:
    """Write ``compute.json`` into ``run`` and return its path.

    Args:
        run: The run folder.
        tasks: FLOPs by phase, of what came before the first task first; a phase takes a second a GFLOP.
        sizes: ``parameters`` and ``stored_bytes`` of every task but the first entry.
        schema: Version of the file.
        notes: Sentences on what is not counted.
    """
    entries = [
        {
            "task": number,
            "phases": {name: {"flops": flops, "seconds": flops / 1e9} for name, flops in phases.items()},
            **((sizes or {}) if number else {}),
        }
        for number, phases in enumerate(tasks)
    ]
    path = run / "compute.json"
    path.write_text(json.dumps({"schema": schema, "tasks": entries, "notes": list(notes)}))
    return path


def write_validation(run: Path, curves: Sequence[Sequence[tuple[float, float]]]) -> None:
    """Write ``metrics.csv`` into ``run``: for every task, (FLOPs of the run so far, validation AUC) of every epoch."""
    lines = ["task,epoch,step,metric,value"]
    for number, curve in enumerate(curves, start=1):
        for epoch, (flops, auc) in enumerate(curve):
            head = f"{number},{epoch},{10 * epoch + 9}"
            lines += [f"{head},val/loss,0.5", f"{head},val/auc,{auc!r}", f"{head},compute/flops,{flops!r}"]
            lines.append(f"{head},train/loss,0.4")
    (run / "metrics.csv").write_text("\n".join(lines) + "\n")


def write_sources(run: Path, sources: Mapping[int, tuple[int, Mapping[int, float]]]) -> None:
    """Write ``source.json`` of every task: the number of the task whose weights were taken, and every candidate's accuracy."""
    for number, (source, accuracy) in sources.items():
        folder = run / "tasks" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        content = {"source": source, "accuracy": {str(candidate): value for candidate, value in accuracy.items()}}
        (folder / "source.json").write_text(json.dumps(content))
