"""The files of a comparison: its tables as Markdown and CSV, and what their numbers are."""

from __future__ import annotations

from pathlib import Path

from continual_df.commands import attribution_columns, comparison_columns
from continual_df.commands import differences as paired
from continual_df.commands.attribution_columns import attribution_sections
from continual_df.commands.comparison_columns import Column
from continual_df.commands.comparison_csv import comparison_csv, differences_csv
from continual_df.commands.comparison_tables import markdown
from continual_df.commands.cost_columns import cost_captions, cost_columns, cost_title
from continual_df.evaluation.cost_comparison import CostComparison
from continual_df.evaluation.run_summary import Row, format_summaries
from continual_df.files import renamed


def more_sections(cost: CostComparison, sources: list[str]) -> dict[str, list[Column]]:
    """Return the tables that a stream has beside that of the scores, by title: error against compute, and attribution."""
    columns = cost_columns(cost)
    return {**({cost_title(cost): columns} if columns else {}), **attribution_sections(cost.stream, sources)}


def captions(costs: list[CostComparison], differences: dict[str, paired.Differences]) -> list[str]:
    """Return what the numbers of the tables are."""
    attribution = [attribution_columns.CAPTION] if any(cost.stream.attribution() for cost in costs) else []
    return [comparison_columns.CAPTION, *cost_captions(costs), *attribution, *([paired.CAPTION] if differences else [])]


def write_tables(
    out: Path,
    rows: list[Row],
    costs: list[CostComparison],
    differences: dict[str, paired.Differences],
    sources: dict[str, list[str]],
    notes: list[str],
) -> list[Path]:
    """Write ``comparison.md``, ``comparison.csv``, ``differences.csv`` and ``runs.csv`` to ``out``; return their paths."""
    streams = [
        markdown(cost.stream, differences.get(cost.stream.title), more_sections(cost, sources[cost.stream.title]))
        for cost in costs
    ]
    said = [line for text in captions(costs, differences) for line in text.splitlines()]
    parts = [
        "# Comparison\n",
        *streams,
        *(["## Notes\n", "\n\n".join(notes), ""] if notes else []),
        "## What the numbers are\n",
        "\n\n".join(map(str.strip, said)),
    ]
    text = "\n".join(parts)
    contents = {
        "comparison.md": f"{text}\n",
        "comparison.csv": comparison_csv(costs),
        "differences.csv": differences_csv([cost.stream for cost in costs], differences),
        "runs.csv": format_summaries(rows),
    }
    for name, text in contents.items():
        with renamed(out / name) as path:
            path.write_text(text, encoding="utf-8")
    return [out / name for name in contents]
