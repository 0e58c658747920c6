"""Methods side by side in error against compute, seed by seed against a reference: NEVIS's numbers on one stream."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from continual_df.evaluation import compute
from continual_df.evaluation.comparison import (
    COSTS,
    MethodRows,
    Quantity,
    Spread,
    StreamComparison,
    best_of,
    seed_of,
    spread_of,
)
from continual_df.evaluation.cost_summary import OWN, by_task
from continual_df.evaluation.run_summary import Row

ERRORS = ("average_error", "suffix_error", "size_weighted_error")
"""The average over the stream, that over its suffix, and that over the suffix weighted by the sizes of the test sets."""

AGAINST = (
    "relative_flops",
    "cumulative_regret",
    "normalised_regret_per_task",
    "normalised_regret_relative",
    "forward_transfer_points",
    "forward_transfer_relative",
)
"""Numbers against the reference; their variants are those of `continual_df.evaluation.compute`."""

HIGHER_IS_BETTER = ("forward_transfer_points", "forward_transfer_relative")


@dataclass(frozen=True)
class CostComparison:
    """Error against compute of the methods on one stream.

    What is reported may be the last ``suffix`` tasks: the errors (but ``average_error``) and the transfers are averages over them.
    Compute and regret are always those of the whole stream, since a learner pays for the experience that it uses.

    Attributes:
        stream: The methods.
        metric: Metric whose shortfall from 1 is the error: one of `OWN`.
        suffix: Number of the last tasks, default all.
        reference: Name of the method that the others are measured against; None for none.

    Raises:
        ValueError: If the stream has fewer tasks than ``suffix``.
    """

    stream: StreamComparison
    metric: str = "auc"
    suffix: int | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.suffix is not None and not 1 <= self.suffix <= len(self.stream.tasks):
            raise ValueError(
                f"suffix is {self.suffix}: stream '{self.stream.title}' has {len(self.stream.tasks)} tasks"
            )

    @property
    def quantities(self) -> list[str]:
        """What any method has been measured in, in the order of tables; without the costs of `COSTS`."""
        names = [name for name in ERRORS if self.suffix or name != "suffix_error"]
        names += AGAINST if self.reference else ()
        return [name for name in names if any(self.spread(method, name).num for method in self.stream.methods)]

    def spread(self, method: MethodRows, name: str) -> Spread:
        """Return mean and deviation of a quantity over seeds; against the reference, over the seeds that both have."""
        if name in COSTS:
            return method.spread(Quantity(name))
        if name in ERRORS:
            return spread_of([self._error(row, name) for row in method.rows])
        return spread_of([self._against(row, other, name) for row, other in self.pairs(method)])

    def best(self, name: str) -> list[bool]:
        """Return for each method whether none is better in a quantity."""
        means = [self.spread(method, name).mean for method in self.stream.methods]
        return best_of(name, means, lowest=name not in HIGHER_IS_BETTER)

    def pairs(self, method: MethodRows) -> list[tuple[Row, Row]]:
        """Return the runs of ``method``, each with that of the reference of the same seed; those without one are left out."""
        (reference,) = [other for other in self.stream.methods if other.name == self.reference]
        if method is reference:
            return [(row, row) for row in method.rows]
        known = {seed: row for row in reference.rows if (seed := seed_of(row)) is not None}
        return [(row, known[seed]) for row in method.rows if (seed := seed_of(row)) is not None and seed in known]

    @property
    def headline(self) -> str:
        """The error that stands for a method: the one over the suffix where there is one."""
        return "suffix_error" if self.suffix else "average_error"

    def on_front(self) -> list[bool | None]:
        """Return for each method whether it is on the Pareto front of mean error and mean FLOPs; None where either is unknown."""
        points = [
            (self.spread(one, "train_flops").mean, self.spread(one, self.headline).mean) for one in self.stream.methods
        ]
        measured = [at for at, point in enumerate(points) if None not in point]
        front = compute.pareto_front(*np.array([points[at] for at in measured], dtype=np.float64).reshape(-1, 2).T)
        found = {measured[at] for at in front}
        return [at in found if at in measured else None for at in range(len(points))]

    def _errors(self, row: Row) -> compute.Vector:
        return 1 - by_task(row, OWN[self.metric])

    def _error(self, row: Row, name: str) -> float | None:
        sizes = by_task(row, "test_images") if name == "size_weighted_error" else None
        if sizes is not None and np.isnan(sizes).any():
            return None
        suffix = None if name == "average_error" else self.suffix
        return _measured(compute.average_error(self._errors(row), suffix, sizes))

    def _against(self, row: Row, other: Row, name: str) -> float | None:
        """Return one number of a run against one of the reference."""
        if name == "relative_flops":
            flops = [math.nan if one["train_flops"] is None else float(one["train_flops"]) for one in (row, other)]
            return _measured(compute.relative_flops(flops[:1], flops[1:])[-1])
        error, reference = self._errors(row), self._errors(other)
        transfer = compute.forward_transfer_from_scratch(error, reference)
        values = {
            "cumulative_regret": compute.cumulative_regret(error, reference)[-1],
            "normalised_regret_per_task": compute.normalised_regret(error, reference, "per_task")[-1],
            "normalised_regret_relative": compute.normalised_regret(error, reference, "relative")[-1],
            "forward_transfer_points": compute.average_error(transfer, self.suffix),
            "forward_transfer_relative": self._share(transfer, reference),
        }
        return _measured(values[name])

    def _share(self, transfer: compute.Vector, reference: compute.Vector) -> float:
        """Return the transfer over the events reported as a share of the reference's error over them.

        A mean of the shares of single events would be that of the one in which the reference hardly errs.
        """
        error = compute.average_error(np.where(np.isnan(transfer), np.nan, reference), self.suffix)
        return compute.average_error(transfer, self.suffix) / error if error else math.nan


def _measured(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
