"""How well a finished run did on each task just after learning it."""

from __future__ import annotations

import json
from pathlib import Path

from continual_df.errors import StreamError


def own_scores(run: Path) -> list[tuple[list[str], float]]:
    """Return the methods of every task of ``run``, and the AUC on its own test set after it was learnt.

    Raises:
        StreamError: If the folder holds no results of a finished run, or a task's own AUC was not measured.
    """
    file = run / "results.json"
    place = f"order by difficulty: '{file}'"
    if not file.is_file():
        raise StreamError(f"{place} does not exist. Set order.run to the folder of a finished run.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        tasks, auc = content["tasks"], content["matrices"]["auc"]
        own = [(list(task["methods"]), auc[column + 1][column]) for column, task in enumerate(tasks)]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise StreamError(f"{place} is none of this program's. Run 'continual-df evaluate {run}'.") from None
    for number, ((methods, score), task) in enumerate(zip(own, tasks, strict=True), start=1):
        if score is None:
            raise StreamError(
                f"{place} has no AUC of task {number} ('{task.get('name', '+'.join(methods))}') just after it was learnt. Name "
                "a finished run whose tasks hold reals and fakes."
            )
    return [(methods, float(score)) for methods, score in own]
