"""``continual-df evaluate``: recompute results.json from the predictions."""

from __future__ import annotations

import argparse
from pathlib import Path


def main(argv: list[str]) -> int:
    """Evaluate the runs named in ``argv``, write their results.json, print the table and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df evaluate", description="Recompute results.json from the predictions of finished tasks."
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run, or one that holds runs")
    arguments = parser.parse_args(argv)

    from rich.console import Console

    from continual_df.commands.open_world_tables import class_tables, open_world_table
    from continual_df.commands.run_folders import find_runs, run_names
    from continual_df.commands.tables import results_table
    from continual_df.evaluation.results import write_results

    runs = find_runs(arguments.runs)
    names = run_names(runs)
    console = Console()
    results = {names[run]: write_results(run) for run in runs}
    console.print(results_table(results))
    if (table := open_world_table(results)) is not None:
        console.print(table, *class_tables(results))
    for run in runs:
        console.print(f"{run / 'results.json'}", soft_wrap=True, markup=False, highlight=False)
    return 0
