"""Print a Markdown table of the final AUC of runs that differ in their seed only: one column a recipe.

    python tools/seed_table.py finetune=runs/a_0,runs/a_1 replay=runs/b_0,runs/b_1

Each cell is the mean over the seeds +- their standard deviation, and a 95 % bootstrap interval of that mean over groups (a real
and its fakes are drawn together, and a group is drawn for all seeds and methods at once).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from continual_df.evaluation.bootstrap import Part, bootstrap_mean
from continual_df.evaluation.image_sets import is_control, method_sets
from continual_df.evaluation.run_files import read_run


def method_parts(run: Path) -> dict[str, Part]:
    """Return labels, final logits and groups of every forgery method's test set."""
    files = read_run(run)
    logit = files.logits(max(files.predictions))
    group = files.frame["group"].to_numpy(dtype=object)
    sets = {name: test for name, test in method_sets(files).items() if not is_control(name)}
    return {name: Part(test.label, logit[test.sample], group[test.sample]) for name, test in sets.items()}


def cell(by_seed: list[list[Part]]) -> str:
    """Return mean, spread over seeds and interval of the mean AUC of the parts of every seed."""
    values = [bootstrap_mean(parts, num=1).value for parts in by_seed]
    pooled = bootstrap_mean([part for parts in by_seed for part in parts])
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread} [{pooled.low:.3f}, {pooled.high:.3f}]"


def summaries(runs: list[Path], key: str) -> str:
    """Return mean and spread over seeds of a summary in results.json."""
    found = [json.loads((run / "results.json").read_text())["summary"]["auc"][key] for run in runs]
    values = np.array([value for value in found if value is not None])
    if not len(values):
        return "-"
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")


def flops(runs: list[Path]) -> str:
    """Return the mean FLOPs spent on learning: every phase but validation and prediction."""
    totals = []
    for run in runs:
        tasks = json.loads((run / "compute.json").read_text())["tasks"]
        phases = [item for task in tasks for item in task["phases"].items()]
        totals.append(sum(cost["flops"] for name, cost in phases if name not in ("validate", "predict")))
    return f"{np.mean(totals):.2e}"


def main(arguments: list[str]) -> None:
    """Print the table of the recipes named as ``name=run,run``."""
    recipes = {name: [Path(run) for run in runs.split(",")] for name, _, runs in (a.partition("=") for a in arguments)}
    parts = {name: [method_parts(run) for run in runs] for name, runs in recipes.items()}
    methods = list(next(iter(parts.values()))[0])
    print("| AUC | " + " | ".join(f"{name} ({len(runs)} seeds)" for name, runs in recipes.items()) + " |")
    print("|---" * (len(recipes) + 1) + "|")
    for method in methods:
        print(f"| {method} | " + " | ".join(cell([[run[method]] for run in runs]) for runs in parts.values()) + " |")
    print("| **average** | " + " | ".join(cell([list(run.values()) for run in runs]) for runs in parts.values()) + " |")
    for key in ("forgetting", "bwt", "plasticity"):
        print(f"| {key} | " + " | ".join(summaries(runs, key) for runs in recipes.values()) + " |")
    print("| training FLOPs | " + " | ".join(flops(runs) for runs in recipes.values()) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
