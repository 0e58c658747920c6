"""The columns of a comparison that say how methods attribute images."""

from __future__ import annotations

from collections.abc import Sequence

from continual_df.commands.comparison_columns import Column, quantity_column
from continual_df.evaluation.comparison import Quantity, StreamComparison

CAPTION = """\
Attribution, after the last task: 'known' is the share of test images of known classes in the head of their class. For those of \
novel classes, 'OW-DFA' matches heads to these classes alone, so that a known head may stand for one, 'v2' is their part in one \
matching of all classes, which 'all' counts, and 'strict' takes any of them in a known head as an error. NMI is that of all \
images, 'novel AUROC' tells novel images from known ones, 'novel r/f AUC' tells fakes of novel classes from reals, 'real/fake AUC' is the average AUC."""

HEADS = {
    "known_acc": "known acc",
    "novel_acc": "novel OW-DFA",
    "novel_acc_v2": "novel v2",
    "novel_acc_strict": "novel strict",
    "all_acc": "all acc",
    "all_nmi": "all NMI",
    "novelty_auroc": "novel AUROC",
    "novel_auc": "novel r/f AUC",
    "average_auc": "real/fake AUC",
}
"""Columns of the table of attribution."""


def attribution_columns(comparison: StreamComparison, source: str | None = None) -> list[Column]:
    """Return the scores of attribution, over all images or inside ``source``; empty where there are none."""
    found = comparison.attribution(source)
    if found and source is None:
        found.append(Quantity("average_auc"))
    heads = [(quantity, HEADS[quantity.name]) for quantity in found if quantity.name in HEADS]
    return [quantity_column(comparison, quantity, head) for quantity, head in heads]


def attribution_sections(comparison: StreamComparison, sources: Sequence[str]) -> dict[str, list[Column]]:
    """Return the columns of attribution by title: of all images, then inside each of ``sources``; none where there are none."""
    columns = {"Attribution": attribution_columns(comparison)}
    columns |= {f"Attribution inside {name}": attribution_columns(comparison, name) for name in sources}
    return {title: section for title, section in columns.items() if section}
