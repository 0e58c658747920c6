"""The columns of a comparison that set errors against what learning took."""

from __future__ import annotations

from continual_df.commands.comparison_columns import Column, spread_column
from continual_df.evaluation.comparison import Quantity
from continual_df.evaluation.cost_comparison import AGAINST, CostComparison

METRICS = {"auc": "AUC", "acc": "accuracy at 0.5", "top1": "top-1 accuracy"}

CAPTION = """\
Error and compute are those of NEVIS'22 (arXiv 2211.11747). The error of a task is what its metric lacks to 1 on its test set right \
after it was learnt; 'average' is the mean over all tasks, 'last' that over the end of the stream, 'by size' either of them with \
the tasks weighted by the sizes of their test sets. Total FLOPs are those of the whole stream, in all phases but validation and \
prediction; search is part of them, and pretraining, which was paid elsewhere, a column of its own. A method is on the Pareto front if no other has \
a lower mean error at no higher mean FLOPs, or lower FLOPs at no higher error."""

REFERENCE_CAPTION = """\
Against the reference, seed by seed: 'relative FLOPs' are total FLOPs over the reference's. The cumulative regret is the sum of the \
differences in error over all tasks, negative for a method better than the reference; 'per task' divides it by the number of tasks, \
'relative' by the sum of the reference's errors. Transfer is how far the average error of the tasks reported is below the reference's, in \
points or as a share of it."""

HEADS = {
    "average_error": "average error",
    "suffix_error": "error, last {}",
    "size_weighted_error": "error by size",
    "relative_flops": "relative FLOPs",
    "cumulative_regret": "cumulative regret",
    "normalised_regret_per_task": "regret per task",
    "normalised_regret_relative": "regret, relative",
    "forward_transfer_points": "transfer, points",
    "forward_transfer_relative": "transfer, relative",
}

COSTS = {
    "train_flops": "total {}FLOPs",
    "pretrain_flops": "pretrain {}FLOPs",
    "search_flops": "search {}FLOPs",
    "parameters": "parameters {}",
    "stored_bytes": "stored {}B",
}


def cost_title(cost: CostComparison) -> str:
    """Return what the section is called."""
    against = f", against {cost.reference}" if cost.reference else ""
    return f"Error and compute{against}; error is 1 - {METRICS[cost.metric]} right after each task"


def cost_columns(cost: CostComparison) -> list[Column]:
    """Return errors, costs, what they are against the reference, and the Pareto front; empty without any error.

    Costs that no method has, such as those of a search, are left out.
    """
    measured = cost.quantities
    if not measured:
        return []
    errors = [_column(cost, name, HEADS[name]) for name in measured if name not in AGAINST]
    paid = [name for name in COSTS if any(one.spread(Quantity(name)).mean for one in cost.stream.methods)]
    costs = [_column(cost, name, COSTS[name]) for name in paid]
    against = [_column(cost, name, HEADS[name]) for name in measured if name in AGAINST]
    front = cost.on_front()
    words = [{True: "on", False: "off", None: "-"}[on] for on in front]
    return [*errors, *costs, *against, Column("Pareto front", ["Pareto", "front"], words, [on is True for on in front])]


def cost_captions(costs: list[CostComparison]) -> list[str]:
    """Return what the numbers of some sections are."""
    captions = [CAPTION] if any(cost.quantities for cost in costs) else []
    return [*captions, *([REFERENCE_CAPTION] if captions and any(cost.reference for cost in costs) else [])]


def cost_notes(cost: CostComparison) -> list[str]:
    """Return a sentence on everything that a method has not been measured in, or not in all seeds, or has not counted."""
    notes: list[str] = []
    if not cost.quantities:
        return notes
    on = f"on '{cost.stream.title}'"
    for method in cost.stream.methods:
        if not cost.spread(method, cost.headline).num:
            notes.append(
                f"No error of {method.name} {on}: its rows do not say how each task stood right after it ({METRICS[cost.metric]}). "
                "Name the run folders."
            )
        if cost.reference and (paired := len(cost.pairs(method))) < len(method.rows):
            notes.append(
                f"{method.name} {on} is measured against {cost.reference} in {paired} of {len(method.rows)} runs: "
                "the others have no run of the reference with their seed."
            )
        said = dict.fromkeys(str(row["cost_notes"]) for row in method.rows if row["cost_notes"])
        notes += [f"Costs of {method.name} {on}: {note}" for note in said]
    return notes


def _column(cost: CostComparison, name: str, title: str) -> Column:
    title = title.replace("{}", str(cost.suffix)) if name == "suffix_error" else title
    spreads = [cost.spread(method, name) for method in cost.stream.methods]
    return spread_column(name, spreads, cost.best(name), title)
