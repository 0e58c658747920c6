"""A comparison of methods as CSV, with exact means."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from continual_df.commands.differences import Differences
from continual_df.evaluation.comparison import Spread, StreamComparison
from continual_df.evaluation.cost_comparison import AGAINST, CostComparison


def comparison_csv(costs: Sequence[CostComparison]) -> str:
    """Return a line for each stream, method and quantity, with exact means; ``pareto_front`` is 1 for a method on it, else 0.

    Args:
        costs: Every stream, with the way in which errors are set against compute on it.
    """
    lines: list[list[object]] = []
    for cost in costs:
        comparison = cost.stream
        for quantity in comparison.quantities:
            task = "" if quantity.task is None else comparison.tasks[quantity.task]
            for method, best in zip(comparison.methods, comparison.best(quantity), strict=True):
                head = [comparison.title, comparison.stream_hash, method.name, quantity.name, task, quantity.source]
                lines.append([*head, *_numbers(method.spread(quantity), best), None, None, None])
        for name in cost.quantities:
            how = [cost.metric, cost.suffix, cost.reference if name in AGAINST else None]
            for method, best in zip(comparison.methods, cost.best(name), strict=True):
                head = [comparison.title, comparison.stream_hash, method.name, name, None, None]
                lines.append([*head, *_numbers(cost.spread(method, name), best), *how])
        for method, on in zip(comparison.methods, cost.on_front(), strict=True):
            if on is not None:
                head = [comparison.title, comparison.stream_hash, method.name, "pareto_front", None, None]
                lines.append([*head, len(method.rows), int(on), None, int(on), cost.metric, cost.suffix, None])
    heads = ["stream", "stream_hash", "method", "quantity", "task", "source", "n", "mean", "sd", "best"]
    return _csv([*heads, "metric", "suffix", "reference"], lines)


def _numbers(spread: Spread, best: bool) -> list[float | None]:
    return [spread.num, spread.mean, spread.deviation, int(best)]


def differences_csv(comparisons: Sequence[StreamComparison], differences: dict[str, Differences]) -> str:
    """Return a line for each paired difference."""
    lines = []
    for comparison in comparisons:
        if one := differences.get(comparison.title):
            head = [comparison.title, comparison.stream_hash, one.baseline]
            for name, (value, low, high, p, num_groups) in one.found.items():
                numbers = [None if math.isnan(x) else x for x in (value, low, high, p)]
                lines.append([*head, name, *numbers, num_groups, one.num_draws, one.level])
    heads = [
        "stream",
        "stream_hash",
        "baseline",
        "method",
        "difference",
        "low",
        "high",
        "p",
        "groups",
        "draws",
        "level",
    ]
    return _csv(heads, lines)


def _csv(heads: list[str], lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *lines])
    return out.getvalue()
