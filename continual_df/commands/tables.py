"""Tables of results for the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from continual_df.evaluation.results import headline

COLUMNS = {
    "auc": "AUC",
    "auc_video": "AUC video",
    "ap": "AP",
    "eer": "EER",
    "acc": "Acc",
    "acc_val": "Acc val",
    "racc": "R.Acc",
    "facc": "F.Acc",
    "top1": "top 1",
}
"""Metric of results.json -> heading. Acc cuts P(fake) at 0.5, Acc val at the threshold chosen on validation; top 1 is the share of images in
the right one of their task's classes."""

CLASSES = ("top1",)
"""Columns of streams without reals, where there is nothing to detect."""


def results_table(results: dict[str, dict[str, Any]]) -> Table:
    """Return task x metric after the last task, with average and forgetting, one block per run.

    "learnt" is the AUC (top 1, in a stream without reals) just after the task was learnt. Forgetting is maximum minus last, positive where a task became
    worse (for EER: rose). Intervals in the caption are 95 % bootstrap intervals over groups.

    Args:
        results: Contents of results.json by the name of the run.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, caption_justify="left")
    learnt_metric = headline(results.values())
    # video columns only where there are videos, so that the table fits in 80 characters
    shown = [metric for metric in COLUMNS if metric != "auc_video" or any(r["has_videos"] for r in results.values())]
    shown = [metric for metric in shown if (metric in CLASSES) == (learnt_metric in CLASSES)]
    table.add_column("task", no_wrap=True)
    heading = COLUMNS[learnt_metric]
    table.add_column(f"{heading}\nlearnt", justify="right", no_wrap=True, min_width=6)
    for metric in shown:
        table.add_column(COLUMNS[metric].replace(" ", "\n"), justify="right", no_wrap=True, min_width=5)
    captions = []
    for name, result in results.items():
        matrices, summary, last = result["matrices"], result["summary"], max(result["measured"])
        num_tasks = len(result["tasks"])
        state = "" if last == num_tasks else f" ({last} of {num_tasks} tasks)"
        table.add_row(f"[bold]{escape(name + state)}[/bold]")
        for column, task in enumerate(result["tasks"]):
            learnt = matrices[learnt_metric][column + 1][column]
            cells = [number(matrices[metric][last][column]) for metric in shown]
            row = [f"  {column + 1} {escape(task['name'])}", number(learnt), *cells]
            table.add_row(*row, style=None if column < last else "dim")
        for key, plastic in (("average", number(summary[learnt_metric]["plasticity"])), ("forgetting", "")):
            cells = [number(summary[metric][key]) for metric in shown]
            table.add_row(f"  {key}", plastic, *cells, style="bold", end_section=key == "forgetting")
        captions.append(_caption(name, result))
    table.caption = "\n".join(captions)
    return table


def number(value: float | None) -> str:
    """Return a share as forensics papers print it, ``.912``; a dash for what was not measured."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    if float(text) == 0:
        return ".000"
    return text.replace("0.", ".", 1) if abs(value) < 1 and not text.lstrip("-").startswith("1") else text


def _caption(name: str, result: dict[str, Any]) -> str:
    """Return the intervals of a run and what its numbers leave out, a line each."""
    lines = [f"{escape(name)}: average AUC {_interval(result['intervals']['auc']['average'])}"]
    lines += [
        f"  control {control}: AUC {_interval(entry['interval'])}" for control, entry in result["controls"].items()
    ]
    return "\n".join([*lines, *(f"  note: {escape(note)}" for note in result["notes"])])


def _interval(interval: dict[str, Any]) -> str:
    return escape(f"{number(interval['value'])} [{number(interval['low'])}, {number(interval['high'])}]")
