"""How far each method is from a baseline, and whether that is real: the paired bootstrap of a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from continual_df.commands.tables import number
from continual_df.evaluation.bootstrap import Difference, paired_bootstrap
from continual_df.evaluation.comparison import Quantity, StreamComparison
from continual_df.evaluation.paired_runs import read_paired

LEVEL = 0.95
SEED = 0

CAPTION = """\
Differences: average AUC after the last task, with interval and two-sided p of a paired bootstrap over test groups: each draw is one \
for all methods, seeds and tasks. Seeds are averaged within a draw, so what other seeds would bring is not in the interval. p is \
not corrected for the number of methods."""


@dataclass(frozen=True)
class Differences:
    """The paired bootstrap on one stream.

    Attributes:
        baseline: The method that the others are compared with.
        found: Difference of the average AUC by method.
        num_draws: Number of draws.
        level: Coverage of the intervals.
    """

    baseline: str
    found: dict[str, Difference]
    num_draws: int
    level: float

    @property
    def title(self) -> str:
        """What is subtracted from what."""
        groups = max((each.num_groups for each in self.found.values()), default=0)
        return f"Average AUC minus that of {self.baseline}; {self.num_draws} draws of {groups} test groups"

    @property
    def lines(self) -> list[list[str]]:
        """The heads, then name, difference, interval and p of every method."""
        lines = [["method", "difference", f"{self.level:.0%} interval", "p"]]
        for name, found in self.found.items():
            value, low, high, p = (number(None if math.isnan(value) else value) for value in found[:4])
            lines.append([name, value, f"[{low}, {high}]", p])
        return lines


def find_differences(
    comparison: StreamComparison, folders: list[Path | None], baseline: str | None, num_draws: int
) -> tuple[Differences | None, list[str]]:
    """Return how far each method is from the baseline or the best one, and a sentence on what could not be compared.

    Args:
        comparison: Methods on one stream.
        folders: The folder of every run; None where only its row is at hand.
        baseline: A method; where the stream lacks it, or None, the one with the best average AUC.
        num_draws: Number of draws; 0 for no comparison.
    """
    if num_draws == 0 or len(comparison.methods) < 2:
        return None, []
    runs: dict[str, list[Path]] = {}
    averages: dict[str, float] = {}
    for method in comparison.methods:
        own = [folder for at in method.positions if (folder := folders[at]) is not None]
        average = method.spread(Quantity("average_auc")).mean
        if len(own) == len(method.rows) and average is not None:
            runs[method.name], averages[method.name] = own, average
    absent = [method.name for method in comparison.methods if method.name not in runs]
    notes = []
    if absent:
        whom = f" for {', '.join(absent)}" if runs else ""
        notes.append(
            f"No bootstrap on '{comparison.title}'{whom}: it needs the run folders of all seeds, with their predictions."
        )
    chosen = baseline if baseline in runs else max(averages, key=lambda name: averages[name], default=None)
    if baseline is not None and chosen != baseline:
        notes.append(f"On '{comparison.title}' {baseline} cannot be the baseline; it is {chosen}.")
    if chosen is None or len(runs) < 2:
        return None, notes
    seeds = {
        name: sorted(str(row["seed"]) for row in method.rows)
        for method in comparison.methods
        if (name := method.name) in runs
    }
    if others := [name for name in runs if seeds[name] != seeds[chosen]]:
        notes.append(
            f"Bootstrap on '{comparison.title}': {', '.join(others)} and {chosen} have other seeds, whose difference is part of theirs."
        )
    paired = read_paired(runs)
    if paired.num_dropped:
        notes.append(
            f"Bootstrap on '{comparison.title}': {paired.num_dropped} test images that some run has not predicted are left out "
            "of all."
        )
    found = paired_bootstrap(paired.sets, paired.scores, chosen, num=num_draws, seed=SEED, level=LEVEL)
    return Differences(chosen, found, num_draws, LEVEL), notes
