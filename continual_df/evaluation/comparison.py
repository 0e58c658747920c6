"""Methods side by side, from the rows of their runs: means and spreads over seeds, stream by stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from continual_df.evaluation.attribution_summary import ATTRIBUTION, SOURCE_SCORES, SOURCES, parse_sources
from continual_df.evaluation.run_summary import SEPARATOR, Row
from continual_df.evaluation.seed_groups import group_by_seed, tell_apart

SCORES = ("average_auc", "forgetting", "bwt", "fwt", "average_incremental", "plasticity")
SECONDS = "train_seconds"
COSTS = (
    "memory_images",
    "memory_bytes",
    "train_flops",
    SECONDS,
    "pretrain_flops",
    "search_flops",
    "parameters",
    "stored_bytes",
)
FINAL = "final_auc"
LOWER_IS_BETTER = ("forgetting", *COSTS)
RANKED_BY = (*SCORES, *ATTRIBUTION, *COSTS)
"""Columns that methods can be `StreamComparison.ranked` by."""

WHOLE = ("memory_images", SECONDS)
"""Costs that are shown as whole numbers; of the others, three digits in all."""


class Quantity(NamedTuple):
    """What one column of a comparison shows: a column of the rows, the final AUC of the task at a position, or a score inside a source."""

    name: str
    task: int | None = None
    source: str | None = None


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1) over ``num`` runs in which a quantity was measured.

    ``mean`` is None for none, ``deviation`` for fewer than two.
    """

    mean: float | None
    deviation: float | None
    num: int


@dataclass(frozen=True)
class MethodRows:
    """The runs of one method with one recipe, one a seed.

    Attributes:
        name: Name of the method; no other on the stream has it.
        rows: One a run.
        positions: Where they stood among the rows given.
    """

    name: str
    rows: list[Row]
    positions: list[int]

    @property
    def devices(self) -> set[str]:
        """What has trained the runs; an empty text where not noted."""
        return {name for row in self.rows for name in str(row.get("devices") or "").split(SEPARATOR)}

    def spread(self, quantity: Quantity) -> Spread:
        """Return mean and standard deviation of ``quantity`` over the runs in which it was measured.

        Seconds of several devices have none.
        """
        if quantity.name == SECONDS and len(self.devices) > 1:
            return Spread(None, None, 0)
        return spread_of([_value(row, quantity) for row in self.rows])


@dataclass(frozen=True)
class StreamComparison:
    """The methods on one stream: the same images in the same tasks and splits.

    Attributes:
        title: Name of the stream; no other stream has it.
        stream_hash: Hash of the membership.
        tasks: Names of the tasks in order.
        methods: The methods in order of first appearance, or of what they are `ranked` by.
    """

    title: str
    stream_hash: str
    tasks: list[str]
    methods: list[MethodRows]

    @property
    def quantities(self) -> list[Quantity]:
        """Everything that can be compared, in the order of tables; costs that no method has are left out."""
        finals = [Quantity(FINAL, position) for position in range(len(self.tasks))]
        attribution = [*self.attribution(), *(quantity for name in self.sources for quantity in self.attribution(name))]
        costs = [quantity for quantity in map(Quantity, COSTS) if self._measured([quantity])]
        return [*map(Quantity, SCORES), *finals, *attribution, *costs]

    def attribution(self, source: str | None = None) -> list[Quantity]:
        """Return the scores of attribution, over all images or inside ``source``; empty if no method has any."""
        names = ATTRIBUTION if source is None else SOURCE_SCORES
        quantities = [Quantity(name, source=source) for name in names]
        return quantities if self._measured(quantities) else []

    @property
    def devices(self) -> set[str]:
        """What has trained the runs of any method; an empty text where not noted."""
        return {name for method in self.methods for name in method.devices}

    @property
    def sources(self) -> list[str]:
        """The sources with scores of attribution, in order of first appearance."""
        return list(dict.fromkeys(name for method in self.methods for row in method.rows for name in _sources(row)))

    @property
    def mixed_sources(self) -> list[str]:
        """Those of `sources` that hold novel classes beside known ones."""
        needed = ("known_acc", "novel_acc_v2")
        return [name for name in self.sources if all(self._measured([Quantity(key, source=name)]) for key in needed)]

    def _measured(self, quantities: list[Quantity]) -> bool:
        """Return whether any method has any of ``quantities``."""
        return any(method.spread(quantity).num for method in self.methods for quantity in quantities)

    def ranked(self, name: str) -> StreamComparison:
        """Return the comparison with its methods by their mean of the column ``name``, best first; those without it come last."""
        sign = 1 if name in LOWER_IS_BETTER else -1

        def place(method: MethodRows) -> tuple[bool, float]:
            mean = method.spread(Quantity(name)).mean
            return mean is None, 0.0 if mean is None else sign * mean

        return replace(self, methods=sorted(self.methods, key=place))

    def best(self, quantity: Quantity) -> list[bool]:
        """Return for each method whether none is better, to the digits of `rounded`.

        All are False for a single method, and for seconds of several devices.
        """
        if quantity.name == SECONDS and len(self.devices) > 1:
            return [False] * len(self.methods)
        means = [method.spread(quantity).mean for method in self.methods]
        return best_of(quantity.name, means, lowest=quantity.name in LOWER_IS_BETTER)


def best_of(name: str, means: Sequence[float | None], lowest: bool) -> list[bool]:
    """Return for each of several means of ``name`` whether none is better, to the digits of `rounded`; all False for one."""
    values = [None if mean is None else rounded(name, mean) for mean in means]
    known = [value for value in values if value is not None]
    if len(means) < 2 or not known:
        return [False] * len(means)
    goal = min(known) if lowest else max(known)
    return [value == goal for value in values]


def spread_of(values: Sequence[float | None]) -> Spread:
    """Return mean and standard deviation of what was measured."""
    found = [value for value in values if value is not None]
    deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
    return Spread(float(np.mean(found)) if found else None, deviation, len(found))


def rounded(name: str, value: float) -> float:
    """Return ``value`` to the digits that tables show: three behind the point, for costs whole ones or three in all."""
    if name in WHOLE:
        return float(round(value))
    return float(f"{value:.3g}") if name in COSTS else round(value, 3) + 0.0


def compare_rows(rows: Sequence[Row], details: Sequence[str]) -> list[StreamComparison]:
    """Return one comparison a stream; runs on streams that differ in membership or in tasks are never together.

    Args:
        rows: Rows of `continual_df.evaluation.run_summary.run_summary`.
        details: For each row, what tells its method from another of the same name.
    """
    streams = [(row["stream_hash"], row["tasks"]) for row in rows]
    members = {stream: [at for at, other in enumerate(streams) if other == stream] for stream in dict.fromkeys(streams)}
    names = [str(rows[positions[0]]["stream"]) for positions in members.values()]
    titles = tell_apart(names, [str(stream_hash)[:8] for stream_hash, _ in members])
    return [
        StreamComparison(title, str(stream_hash), str(tasks).split(SEPARATOR), _methods(rows, details, positions))
        for title, ((stream_hash, tasks), positions) in zip(titles, members.items(), strict=True)
    ]


def describe_difference(stream: StreamComparison, other: StreamComparison) -> str:
    """Return in one sentence why the runs on ``stream`` are not compared with those on ``other``."""
    if stream.tasks == other.tasks:
        what = f"has the same tasks of other images (membership {stream.stream_hash[:8]}, not {other.stream_hash[:8]})"
    elif sorted(stream.tasks) == sorted(other.tasks):
        what = f"has the same tasks in another order ({', '.join(stream.tasks)})"
    else:
        added = [name for name in stream.tasks if name not in other.tasks]
        lacking = [name for name in other.tasks if name not in stream.tasks]
        parts = [f"{word} {', '.join(names)}" for word, names in (("with", added), ("without", lacking)) if names]
        what = f"has other tasks ({' and '.join(parts)})" if parts else "has other tasks"
    return f"Stream '{stream.title}' is not compared with '{other.title}': it {what}."


def _methods(rows: Sequence[Row], details: Sequence[str], positions: list[int]) -> list[MethodRows]:
    """Return the methods among the rows of one stream."""
    groups = group_by_seed(
        [(rows[at]["method"], rows[at]["recipe"]) for at in positions], [seed_of(rows[at]) for at in positions]
    )
    members = [[positions[index] for index in group] for group in groups]
    names = tell_apart([str(rows[group[0]]["method"]) for group in members], [details[group[0]] for group in members])
    return [MethodRows(name, [rows[at] for at in group], group) for name, group in zip(names, members, strict=True)]


def seed_of(row: Row) -> int | None:
    """Return the seed of a run, None where its config had none."""
    seed = row["seed"]
    return seed if isinstance(seed, int) else None


def _value(row: Row, quantity: Quantity) -> float | None:
    """Return one number of a row, None where it was not measured."""
    if quantity.source is not None:
        return _sources(row).get(quantity.source, {}).get(quantity.name)
    value = row[quantity.name]
    if quantity.task is not None:
        value = str(value).split(SEPARATOR)[quantity.task]
    return None if value is None or value == "" else float(value)


def _sources(row: Row) -> dict[str, dict[str, float | None]]:
    """Return the scores of a row inside each source."""
    return parse_sources(str(row[SOURCES] or ""))
