"""Runs of one method with what they have paid: what one line, panel or point of a figure of costs shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from continual_df.cost import NOT_LEARNING
from continual_df.evaluation.compute import event_errors
from continual_df.evaluation.results import LOWER_IS_BETTER
from continual_df.evaluation.run_costs import RunCosts
from continual_df.evaluation.validation_curves import ValidationCurve
from continual_df.evaluation.weight_sources import WeightSource
from continual_df.plots.run_group import RunGroup
from continual_df.plots.style import LABELS


@dataclass(frozen=True)
class CostGroup:
    """S runs of one method on one stream of T tasks, which differ in their seed only.

    Attributes:
        runs: Their name, stream and results.
        seeds: The seed of each; None where its config has none.
        costs: What each has paid.
        curves: Validation curves of each, by the number of the task.
        sources: Where the weights of each came from, by the number of the task.
    """

    runs: RunGroup
    seeds: list[int | None]
    costs: list[RunCosts]
    curves: list[dict[int, ValidationCurve]] = field(default_factory=list)
    sources: list[dict[int, WeightSource]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.runs.name

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks in order."""
        return self.runs.tasks

    def errors(self, metric: str) -> NDArray[np.float64]:
        """Return (S, T): the error on each task right after it was learnt, 1 - the metric where higher is better."""
        matrices = self.runs.matrices(metric)
        return np.stack([event_errors(matrix, metric in LOWER_IS_BETTER) for matrix in matrices])

    def flops(self, phases: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return (S, T + 1): FLOPs before the first task and in each, of ``phases`` or of all that learning takes."""
        return np.stack([costs.flops_by_task(len(self.tasks), phases) for costs in self.costs])

    def stream_flops(self) -> NDArray[np.float64]:
        """Return (S, T): what each had spent on the stream when a task began, as its validation curves count it."""
        phases = [name for costs in self.costs for name in costs.phases if name not in NOT_LEARNING]
        return np.cumsum(self.flops(phases), axis=1)[:, :-1]


def pairs(group: CostGroup, reference: CostGroup) -> list[tuple[int, int]]:
    """Return the positions of runs of ``group`` and ``reference`` that have the same seed."""
    if group is reference:
        return [(at, at) for at in range(len(group.seeds))]
    place = {seed: at for at, seed in enumerate(reference.seeds) if seed is not None}
    return [(at, place[seed]) for at, seed in enumerate(group.seeds) if seed is not None and seed in place]


def error_label(metric: str) -> str:
    """Return what the errors of `CostGroup.errors` are."""
    return LABELS[metric] if metric in LOWER_IS_BETTER else f"1 - {LABELS[metric]}"


def reference_of(groups: Sequence[CostGroup], name: str) -> CostGroup:
    """Return the group of that name, which must be there once."""
    (reference,) = [group for group in groups if group.name == name]
    return reference


def by_stream(groups: Sequence[CostGroup]) -> dict[str, list[CostGroup]]:
    """Return the groups on each stream, by its name; streams of one name and other tasks have numbers behind it."""
    found: dict[tuple[str, ...], list[CostGroup]] = {}
    for group in groups:
        found.setdefault((group.runs.stream, *group.tasks), []).append(group)
    names = [stream for stream, *_ in found]
    titles = [
        f"{name} #{names[: at + 1].count(name)}" if names.count(name) > 1 else name for at, name in enumerate(names)
    ]
    return dict(zip(titles, found.values(), strict=True))


def look_of(groups: Sequence[CostGroup]) -> dict[str, int]:
    """Return by a method's name the number of its look, the same on every stream; see `continual_df.plots.style.line_style`."""
    return {name: at for at, name in enumerate(dict.fromkeys(group.name for group in groups))}
