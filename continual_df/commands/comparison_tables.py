"""A comparison of methods as tables: for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from continual_df.commands.tables import number
from continual_df.evaluation.bootstrap import Difference
from continual_df.evaluation.comparison import FINAL, Quantity, Spread, StreamComparison, rounded

CAPTION = """\
Mean ± standard deviation (n - 1) over n seeds; costs that are alike in all seeds carry none; the best of each column in bold. \
AUC is at frame level: 'average' is the mean over the tasks after the last one, 'forgetting' how far tasks fell from their best, \
'BWT' what later tasks did to earlier ones, a task's own column its AUC after the last task.
Memory: images in the replay memory after the last task; the bytes are the size of their files on disk, each image once, plus the \
values kept beside each, such as logits. Weights, teachers and prototypes are not counted.
Training FLOPs and seconds: all phases of all tasks but validation and prediction, as the ledger counted them."""
"""What the numbers are, a paragraph a line."""

ATTRIBUTION_CAPTION = """\
Attribution, after the last task: 'known' is the share of test images of known classes in the head of their class. For those of \
novel classes, 'OW-DFA' matches heads to these classes alone, so that a known head may stand for one, 'v2' is their part in one \
matching of all classes, which 'all' counts, and 'strict' takes any of them in a known head as an error. NMI is that of all \
images, 'novel AUROC' tells novel images from known ones, 'real/fake AUC' is the average AUC."""

DIFFERENCES_CAPTION = """\
Differences: average AUC after the last task, with interval and two-sided p of a paired bootstrap over test groups: each draw is one \
for all methods, seeds and tasks. Seeds are averaged within a draw, so what other seeds would bring is not in the interval. p is \
not corrected for the number of methods."""

ATTRIBUTION_HEADS = {
    "known_acc": "known acc",
    "novel_acc": "novel OW-DFA",
    "novel_acc_v2": "novel v2",
    "novel_acc_strict": "novel strict",
    "all_acc": "all acc",
    "all_nmi": "all NMI",
    "novelty_auroc": "novel AUROC",
    "average_auc": "real/fake AUC",
}
"""Columns of the table of attribution."""

METHOD_WIDTH = 24
TASK_WIDTH = 9


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
    memory, flops = _unit(comparison, "memory_bytes"), _unit(comparison, "train_flops")
    return [
        Column("n", ["n"], seeds, [False] * len(seeds)),
        _column(comparison, Quantity("average_auc"), "average AUC", ["average", "AUC"]),
        _column(comparison, Quantity("forgetting"), "forgetting", ["for-", "getting"]),
        _column(comparison, Quantity("bwt"), "BWT", ["BWT"]),
        _column(comparison, Quantity("memory_images"), "memory images", ["memory", "images"]),
        _column(comparison, Quantity("memory_bytes"), f"memory {memory[1]}B", ["memory", f"{memory[1]}B"], memory[0]),
        _column(
            comparison, Quantity("train_flops"), f"training {flops[1]}FLOPs", ["training", f"{flops[1]}FLOPs"], flops[0]
        ),
        _column(comparison, Quantity("train_seconds"), "training seconds", ["training", "seconds"]),
    ]


def task_columns(comparison: StreamComparison) -> list[Column]:
    """Return the AUC of every task after the last one."""
    return [
        _column(comparison, Quantity(FINAL, at), name, [str(at + 1), *_wrap(name)])
        for at, name in enumerate(comparison.tasks)
    ]


def attribution_columns(comparison: StreamComparison, source: str | None = None) -> list[Column]:
    """Return the scores of attribution, over all images or inside ``source``; empty where there are none."""
    found = comparison.attribution(source)
    if found and source is None:
        found.append(Quantity("average_auc"))
    heads = [(quantity, ATTRIBUTION_HEADS[quantity.name]) for quantity in found if quantity.name in ATTRIBUTION_HEADS]
    return [_column(comparison, quantity, head, head.split()) for quantity, head in heads]


def attribution_sections(comparison: StreamComparison, sources: Sequence[str]) -> dict[str, list[Column]]:
    """Return the columns of attribution by title: of all images, then inside each of ``sources``; none where there are none."""
    columns = {"Attribution": attribution_columns(comparison)}
    columns |= {f"Attribution inside {name}": attribution_columns(comparison, name) for name in sources}
    return {title: section for title, section in columns.items() if section}


def comparison_tables(comparison: StreamComparison, width: int) -> list[Table]:
    """Return the tables of one stream for a terminal of ``width`` letters: columns that do not fit begin a new one."""
    sections = (score_columns(comparison), task_columns(comparison))
    return [table for section in sections for table in section_tables(comparison, section, width)]


def section_tables(comparison: StreamComparison, section: list[Column], width: int) -> list[Table]:
    """Return the tables of some columns for a terminal of ``width`` letters."""
    names = [method.name for method in comparison.methods]
    first = min(METHOD_WIDTH, max(map(len, [*names, "method"])))
    blocks: list[list[Column]] = []
    room = -1
    for column in section:
        if room < column.width + 1:
            blocks.append([])
            room = width - first
        blocks[-1].append(column)
        room -= column.width + 1
    return [_table(names, first, block) for block in blocks]


def differences_table(differences: Differences) -> Table:
    """Return the paired differences for the terminal."""
    table = _empty_table()
    table.add_column("method", min_width=len("method"), max_width=METHOD_WIDTH, overflow="fold")
    for head in ("difference", f"{differences.level:.0%} interval", "p"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, found in differences.found.items():
        table.add_row(Text(name), *_difference(found))
    return table


def markdown(comparison: StreamComparison, differences: Differences | None, sources: Sequence[str] = ()) -> str:
    """Return one stream as Markdown: its methods, how they attribute images, also inside ``sources``, and how they differ."""
    scores, tasks = score_columns(comparison), task_columns(comparison)
    lines = [f"## {comparison.title}", "", *_markdown(comparison, [*scores[:4], *tasks, *scores[4:]])]
    for title, section in attribution_sections(comparison, sources).items():
        lines += ["", f"{title}:", "", *_markdown(comparison, [scores[0], *section])]
    if differences is not None:
        lines += ["", f"{differences.title}:", ""]
        lines += [_line(["method", "difference", f"{differences.level:.0%} interval", "p"]), "|---|---|---|---|"]
        lines += [_line([name, *_difference(found)]) for name, found in differences.found.items()]
    return "\n".join(lines) + "\n"


def comparison_csv(comparisons: list[StreamComparison]) -> str:
    """Return a line for each stream, method and quantity, with exact means."""
    lines = []
    for comparison in comparisons:
        for quantity in comparison.quantities:
            task = "" if quantity.task is None else comparison.tasks[quantity.task]
            for method, best in zip(comparison.methods, comparison.best(quantity), strict=True):
                head = [
                    comparison.title,
                    comparison.stream_hash,
                    method.name,
                    quantity.name,
                    task,
                    quantity.source or "",
                ]
                spread = method.spread(quantity)
                lines.append([*head, spread.num, spread.mean, spread.deviation, int(best)])
    return _csv(["stream", "stream_hash", "method", "quantity", "task", "source", "n", "mean", "sd", "best"], lines)


def differences_csv(comparisons: list[StreamComparison], differences: dict[str, Differences]) -> str:
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


def _markdown(comparison: StreamComparison, columns: list[Column]) -> list[str]:
    """Return a table of all methods in Markdown, line by line."""
    heads = ["method", *(column.title for column in columns)]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for at, method in enumerate(comparison.methods):
        cells = [f"**{column.cells[at]}**" if column.best[at] else column.cells[at] for column in columns]
        lines.append(_line([method.name, *(cell.replace("±", " ± ") for cell in cells)]))
    return lines


def _wrap(name: str) -> list[str]:
    """Return ``name`` in lines of at most `TASK_WIDTH` letters, broken behind underscores where that can be."""
    return [line.replace("_ ", "_") for line in textwrap.wrap(name.replace("_", "_ "), TASK_WIDTH)]


def _column(
    comparison: StreamComparison, quantity: Quantity, title: str, head: Sequence[str], unit: float = 1
) -> Column:
    """Return one column of mean and deviation, costs in multiples of ``unit``."""
    spreads = [method.spread(quantity) for method in comparison.methods]
    return Column(title, head, [_cell(quantity, spread, unit) for spread in spreads], comparison.best(quantity))


def _cell(quantity: Quantity, spread: Spread, unit: float) -> str:
    mean, deviation = spread.mean, spread.deviation
    if mean is None:
        return "not measured" if quantity.name == "memory_bytes" else "-"
    if quantity.name in ("memory_bytes", "train_flops"):
        text = f"{rounded(quantity, mean) / unit:#.3g}".rstrip(".") if mean else "0"
        digits = len(text.partition(".")[2])
        return text if not deviation else f"{text}±{deviation / unit:.{digits}f}"
    if quantity.name in ("memory_images", "train_seconds"):
        return f"{mean:.0f}" if not deviation else f"{mean:.0f}±{deviation:.0f}"
    return number(mean) if deviation is None else f"{number(mean)}±{number(deviation)}"


def _unit(comparison: StreamComparison, name: str) -> tuple[float, str]:
    """Return the power of a thousand, and its prefix, that gives the largest mean one to three digits before the point."""
    quantity = Quantity(name)
    means = [mean for method in comparison.methods if (mean := method.spread(quantity).mean) is not None]
    largest = max((rounded(quantity, mean) for mean in means), default=0.0)
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    power = sum(largest >= 1000**step for step in range(1, len(prefixes)))
    return 1000.0**power, prefixes[power]


def _table(names: list[str], first: int, columns: list[Column]) -> Table:
    table = _empty_table()
    table.add_column("method", width=first, overflow="fold")
    for column in columns:
        table.add_column("\n".join(column.head), justify="right", width=column.width)
    for at, name in enumerate(names):
        cells = [Text(column.cells[at], style="bold" if column.best[at] else "") for column in columns]
        table.add_row(Text(name), *cells)
    return table


def _empty_table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)


def _difference(found: Difference) -> list[str]:
    value, low, high, p = (None if math.isnan(value) else value for value in found[:4])
    return [number(value), f"[{number(low)}, {number(high)}]", number(p)]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _csv(heads: list[str], lines: Sequence[Sequence[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([heads, *lines])
    return out.getvalue()
