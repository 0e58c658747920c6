"""A comparison of methods as tables for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rich import box
from rich.table import Table
from rich.text import Text

from continual_df.commands.comparison_columns import Column, score_columns, task_columns
from continual_df.commands.differences import Differences
from continual_df.evaluation.comparison import StreamComparison

METHOD_WIDTH = 24


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
    (method, *heads), *lines = differences.lines
    table = _empty_table()
    table.add_column(method, min_width=len(method), max_width=METHOD_WIDTH, overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, *cells in lines:
        table.add_row(Text(name), *cells)
    return table


def markdown(
    comparison: StreamComparison,
    differences: Differences | None,
    sections: Mapping[str, list[Column]] = MappingProxyType({}),
) -> str:
    """Return one stream as Markdown: its methods, the columns of more ``sections`` by title, and how the methods differ."""
    scores, tasks = score_columns(comparison), task_columns(comparison)
    lines = [f"## {comparison.title}", "", *_markdown(comparison, [*scores[:4], *tasks, *scores[4:]])]
    for title, section in sections.items():
        lines += ["", f"{title}:", "", *_markdown(comparison, [scores[0], *section])]
    if differences is not None:
        heads, *rows = differences.lines
        lines += ["", f"{differences.title}:", "", _line(heads), "|---" * len(heads) + "|", *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _markdown(comparison: StreamComparison, columns: list[Column]) -> list[str]:
    """Return a table of all methods in Markdown, line by line."""
    heads = ["method", *(column.title for column in columns)]
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for at, method in enumerate(comparison.methods):
        cells = [f"**{column.cells[at]}**" if column.best[at] else column.cells[at] for column in columns]
        lines.append(_line([method.name, *(cell.replace("±", " ± ") for cell in cells)]))
    return lines


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


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
