"""What a run's row says of attribution: scores over all test images, and some of them inside each source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ATTRIBUTION = {
    "known_acc": "known_acc",
    "novel_acc": "novel_acc",
    "novel_acc_v2": "novel_acc_v2",
    "novel_acc_strict": "novel_acc_strict",
    "all_acc": "all_acc",
    "all_nmi": "all_nmi",
    "novel_nmi": "novel_nmi",
    "novelty_auroc": "auroc",
    "novel_auc": "novel_auc",
}
"""Column of the row -> its key among the scores of `open_world_results`."""

SOURCES = "attribution_by_source"
"""Column of the scores inside each source, such as ``celeba:0.9:::0.9|ffhq:0.5:0.4:0.3:0.5``."""

SOURCE_SCORES = ("known_acc", "novel_acc_v2", "novel_acc_strict", "all_acc")
"""What stands behind the name of a source, in this order; empty where not measured."""


def attribution_columns(result: Mapping[str, Any]) -> dict[str, str | float | None]:
    """Return the columns of `ATTRIBUTION` and `SOURCES` after the last task, None or empty where not measured.

    ``novel_acc`` is that of OW-DFA; see `attribution_scores` for what tells it from ``novel_acc_v2`` and
    ``novel_acc_strict``. Sources are those with at least two classes; none if all images are of one. A ``|`` or ``:`` in a name
    becomes ``/``.

    Args:
        result: Content of results.json.
    """
    rows = result.get("open_world", {"rows": []})["rows"]
    last = rows[-1] if rows and rows[-1]["row"] == len(result["tasks"]) else {"scores": {}, "by_source": {}}
    parts = {name: scores for name, scores in last["by_source"].items() if scores["num_images"] < last["num_images"]}
    return {
        **{column: last["scores"].get(key) for column, key in ATTRIBUTION.items()},
        SOURCES: "|".join(_format(name, scores) for name, scores in parts.items()),
    }


def parse_sources(text: str) -> dict[str, dict[str, float | None]]:
    """Return `SOURCE_SCORES` by source from a field of the column `SOURCES`.

    Raises:
        ValueError: If it is no such field.
    """
    found: dict[str, dict[str, float | None]] = {}
    for part in filter(None, text.split("|")):
        name, *values = part.split(":")
        if len(values) != len(SOURCE_SCORES) or not name or name in found:
            raise ValueError(f"expected NAME:{':'.join(SOURCE_SCORES)}, each name once, got '{part}'")
        scores = [float(value) if value else None for value in values]
        if not all(score is None or math.isfinite(score) for score in scores):
            raise ValueError(f"expected finite numbers, got '{part}'")
        found[name] = dict(zip(SOURCE_SCORES, scores, strict=True))
    return found


def _format(name: str, scores: Mapping[str, float | None]) -> str:
    """Return the name of a source and its scores, six digits each."""
    values = ["" if (value := scores[key]) is None else f"{value:.6f}" for key in SOURCE_SCORES]
    return ":".join([name.replace("|", "/").replace(":", "/"), *values])
