"""The tables of open-world scores for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from continual_df.commands.tables import number
from continual_df.evaluation.open_world_results import head_name

COLUMNS = {
    "known_acc": "known\nacc",
    "novel_acc": "novel\nOW-DFA",
    "novel_acc_v2": "novel\nv2",
    "novel_acc_strict": "novel\nstrict",
    "all_acc": "all\nacc",
    "novel_nmi": "novel\nNMI",
    "all_nmi": "all\nNMI",
    "auroc": "\nAUROC",
}
"""Score -> heading. Of novel accuracies, the first lets a known head stand for a novel class; see `attribution_scores`."""


def open_world_table(results: dict[str, dict[str, Any]]) -> Table | None:
    """Return the scores after the last task of every run that has any, over all sources and inside each; None without any.

    The caption says how many heads are used, and how many classes were discovered along the stream.

    Args:
        results: Contents of results.json by the name of the run.
    """
    found = {name: result["open_world"] for name, result in results.items() if "open_world" in result}
    if not found:
        return None
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    table.add_column("open world\nimages of", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True, min_width=5)
    for name, section in found.items():
        row = section["rows"][-1]
        table.add_row(f"[bold]{escape(name)}[/bold]")
        parts = {"all sources": row["scores"], **row["by_source"]}
        for index, (part, scores) in enumerate(parts.items()):
            cells = [number(scores[key]) for key in COLUMNS]
            table.add_row(
                f"  {escape(part)}", *cells, style="dim" if index else "bold", end_section=index == len(parts) - 1
            )
    table.caption = "\n".join(_caption(name, section) for name, section in found.items())
    return table


def class_tables(results: dict[str, dict[str, Any]]) -> list[Table]:
    """Return for every run with open-world scores where each class's test images fall after the last task.

    Beside a class stand its images, the head in which most of them are and their share, and the head with which the class is
    matched and the share there. A head of a known class bears its name, any other one its number.

    Args:
        results: Contents of results.json by the name of the run.
    """
    tables = []
    for name, section in ((name, result["open_world"]) for name, result in results.items() if "open_world" in result):
        row = section["rows"][-1]
        table = Table(
            box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, caption_justify="left"
        )
        table.add_column(f"{escape(name)}\nclass", overflow="fold")
        table.add_column("\nimages", justify="right", min_width=6)
        for heading in ("most are\nin head", "matched\nwith head"):
            table.add_column(heading, overflow="fold")
            table.add_column("\nshare", justify="right", min_width=5)
        table.caption = "* without a name"
        for entry in sorted(row["classes"], key=lambda entry: not entry["known"]):
            in_match = entry["heads"].get(str(entry["match"]), 0) / entry["num_images"]
            table.add_row(
                f"{escape(entry['name'])}{'' if entry['known'] else ' *'}",
                str(entry["num_images"]),
                escape(head_name(row, entry["head"])),
                number(entry["share"]),
                "-" if entry["match"] is None else escape(head_name(row, entry["match"])),
                "-" if entry["match"] is None else number(in_match),
            )
        tables.append(table)
    return tables


def _caption(name: str, section: dict[str, Any]) -> str:
    """Return what the heads and the stream came to, and what the scores leave out."""
    row, summary = section["rows"][-1], section["summary"]
    small = f"{row['num_used_1pct']} with at least 1 % of the images"
    lines = [f"{escape(name)}: {row['num_classes']} classes in {row['num_used']} of {row['num_heads']} heads ({small})"]
    if summary["num_unlabelled"]:
        lag = f", lag {summary['lag']:.1f} tasks" if summary["lag"] is not None else ""
        lines.append(f"  discovered {summary['num_discovered']} of {summary['num_unlabelled']} unlabelled classes{lag}")
    if summary["match_rate"] is not None:
        lines.append(f"  {summary['match_rate']:.0%} of those named later went to the cluster that they had")
    if summary["forgetting"] is not None:
        lines.append(f"  forgetting of attribution {number(summary['forgetting'])}")
    if row["num_missing"]:
        lines.append(f"  note: {row['num_missing']} test images have no prediction after task {row['row']}")
    return "\n".join(lines)
