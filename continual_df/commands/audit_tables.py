"""Tables of an audit for the terminal."""

from __future__ import annotations

import math

from rich import box
from rich.table import Table
from rich.text import Text

from continual_df.audit.label_noise import LabelNoise
from continual_df.audit.shortcut import THRESHOLD, Comparison
from continual_df.commands.tables import number

SHOWN_FEATURES = 2


def shortcut_table(title: str, head: tuple[str, str], items: list[Comparison]) -> Table:
    """Return one row a comparison; AUCs above the threshold are bold, in red where both sides share a domain.

    Args:
        title: Title.
        head: Names of the first two columns.
        items: Comparisons; their notes are in the caption.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), title=title, title_justify="left")
    remarks = []
    for name in head:
        table.add_column(name, no_wrap=True)
    for name in ("AUC", "95 %", "folds", "images"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("strongest alone", overflow="fold")
    for item in items:
        style = ("bold red" if item.within else "bold") if item.high else ""
        notes = list(item.notes)
        if item.probe is None:
            table.add_row(Text(item.name), Text(item.against), "-", "-", "-", "-", "no readable image on one side")
        else:
            test, result = item.probe.test, item.probe
            where = "test" if test else None
            counts = [result.counts[s] for s in ([where] if where else ("train", "val", "test"))]
            shown = ", ".join(f"{name} {number(auc)}" for name, auc in result.features[:SHOWN_FEATURES])
            table.add_row(
                Text(item.name),
                Text(item.against),
                Text(number(test.value) if test else "-", style),
                f"{number(_known(test.low))}-{number(_known(test.high))}" if test else "-",
                Text(number(result.folds), "" if test else style),
                f"{sum(real for real, _ in counts)}+{sum(fake for _, fake in counts)}",
                Text(shown or "-"),
            )
            notes += result.notes
        remarks += [f"{item.name}: {note}" for note in notes]
    if remarks:
        table.caption, table.caption_justify = Text("\n".join(remarks), "yellow"), "left"
    return table


def noise_lines(noise: LabelNoise, num: int) -> list[str]:
    """Return the ``num`` least believable labels, a line each, aligned."""
    cells = [
        ("fake" if row.label else "real", number(row.prob_fake), row.method, row.source, row.split, row.path)
        for row in noise.rows.head(num).itertuples()
    ]
    cells = [("label", "P(fake)", "method", "source", "split", "path"), *cells]
    widths = [max(len(row[column]) for row in cells) for column in range(5)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in cells
    ]


def noise_counts(noise: LabelNoise) -> Table:
    """Return contradicted labels by method."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("label", overflow="fold")
    for name in ("looked at", "contradicted", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    found = noise.rows["method"].value_counts()
    for method, count in noise.num_checked.items():
        wrong = int(found.get(method, 0))
        table.add_row(Text(method), str(count), str(wrong), number(wrong / count))
    return table


def threshold_line() -> str:
    """Return what the AUC columns mean."""
    return (
        f"AUC: a linear probe of trivial statistics, fitted to train, on test; above {number(THRESHOLD)} it is a shortcut. "
        "folds: on all rows, each by a probe of other groups. images: in test, real+fake or first+second domain."
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
