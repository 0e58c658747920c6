"""The columns of a comparison of methods: what every run has."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from continual_df.commands.tables import number
from continual_df.evaluation.comparison import COSTS, FINAL, WHOLE, Quantity, Spread, StreamComparison, rounded

CAPTION = """\
Mean ± standard deviation (n - 1) over n seeds; costs that are alike in all seeds carry none; the best of each column in bold. \
AUC is at frame level: 'average' is the mean over the tasks after the last one, 'forgetting' how far tasks fell from their best, \
'BWT' what later tasks did to earlier ones, a task's own column its AUC after the last task.
Memory: images in the replay memory after the last task; the bytes are the size of their files on disk, each image once, plus the \
values kept beside each, such as logits. Weights, teachers and prototypes are not counted.
Training FLOPs and seconds: all phases of all tasks but validation and prediction, as the ledger counted them."""
"""What the numbers are, a paragraph a line."""

TASK_WIDTH = 9


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: Head of the column in Markdown.
        head: Lines of the head in the terminal.
        cells: One a method.
        best: Which cells are best.
    """

    title: str
    head: Sequence[str]
    cells: list[str]
    best: list[bool]

    @property
    def width(self) -> int:
        """Letters that the column takes."""
        return max(map(len, (*self.head, *self.cells)))


def score_columns(comparison: StreamComparison) -> list[Column]:
    """Return average AUC, forgetting, BWT and the costs, the number of seeds before them."""
    seeds = [str(len(method.rows)) for method in comparison.methods]
    return [
        Column("n", ["n"], seeds, [False] * len(seeds)),
        quantity_column(comparison, Quantity("average_auc"), "average AUC"),
        quantity_column(comparison, Quantity("forgetting"), "forgetting", ["for-", "getting"]),
        quantity_column(comparison, Quantity("bwt"), "BWT"),
        quantity_column(comparison, Quantity("memory_images"), "memory images"),
        quantity_column(comparison, Quantity("memory_bytes"), "memory {}B"),
        quantity_column(comparison, Quantity("train_flops"), "training {}FLOPs"),
        quantity_column(comparison, Quantity("train_seconds"), "training seconds"),
    ]


def task_columns(comparison: StreamComparison) -> list[Column]:
    """Return the AUC of every task after the last one."""
    return [
        quantity_column(comparison, Quantity(FINAL, at), name, [str(at + 1), *_wrap(name)])
        for at, name in enumerate(comparison.tasks)
    ]


def quantity_column(
    comparison: StreamComparison, quantity: Quantity, title: str, head: Sequence[str] | None = None
) -> Column:
    """Return the column of a quantity of the rows; see `spread_column`."""
    spreads = [method.spread(quantity) for method in comparison.methods]
    return spread_column(quantity.name, spreads, comparison.best(quantity), title, head)


def spread_column(
    name: str, spreads: Sequence[Spread], best: list[bool], title: str, head: Sequence[str] | None = None
) -> Column:
    """Return a column of means and deviations.

    Args:
        name: What was measured; decides how it is written.
        spreads: One a method.
        best: Which are best.
        title: Head of the column; for costs, ``{}`` in it becomes the prefix of the unit in which they are written.
        head: Its lines in the terminal; default its words.
    """
    unit = 1.0
    if name in COSTS and name not in WHOLE:
        unit, prefix = _unit(name, spreads)
        title = title.replace("{}", prefix)
    return Column(title, head or title.split(), [_cell(name, spread, unit) for spread in spreads], best)


def _wrap(name: str) -> list[str]:
    """Return ``name`` in lines of at most `TASK_WIDTH` letters, broken behind underscores where that can be."""
    return [line.replace("_ ", "_") for line in textwrap.wrap(name.replace("_", "_ "), TASK_WIDTH)]


def _cell(name: str, spread: Spread, unit: float) -> str:
    mean, deviation = spread.mean, spread.deviation
    if mean is None:
        return "not measured" if name == "memory_bytes" else "-"
    if name in WHOLE:
        return f"{mean:.0f}" if not deviation else f"{mean:.0f}±{deviation:.0f}"
    if name in COSTS:
        text = f"{rounded(name, mean) / unit:#.3g}".rstrip(".") if mean else "0"
        digits = len(text.partition(".")[2])
        return text if not deviation else f"{text}±{deviation / unit:.{digits}f}"
    return number(mean) if deviation is None else f"{number(mean)}±{number(deviation)}"


def _unit(name: str, spreads: Sequence[Spread]) -> tuple[float, str]:
    """Return the power of a thousand, and its prefix, that gives the largest mean one to three digits before the point."""
    largest = max((rounded(name, spread.mean) for spread in spreads if spread.mean is not None), default=0.0)
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    power = sum(largest >= 1000**step for step in range(1, len(prefixes)))
    return 1000.0**power, prefixes[power]
