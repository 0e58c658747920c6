"""``continual-df plot``: draw the figures of runs from their logged files."""

from __future__ import annotations

import argparse
from pathlib import Path

from continual_df.errors import ConfigError


def main(argv: list[str]) -> int:
    """Draw the figures of the runs named in ``argv``, print the table and the figures' paths, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df plot",
        description="Draw forgetting curves, the average curve, the matrix, costs and a contact sheet from the logged files. "
        "Runs that differ in their seed only are drawn as one, with their spread.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run, or one that holds runs")
    parser.add_argument("--out", type=Path, help="folder of the figures (default: RUN/figures; needed for several RUN)")
    parser.add_argument(
        "--metric",
        help="metric of the matrices: auc, ap, eer, acc, ... (default: auc, or top1 where there are no reals)",
    )
    parser.add_argument("--no-images", action="store_true", help="leave out the contact sheet")
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="method against which regret, errors and times to learn are drawn, such as one that starts every task anew "
        "(default: these figures are not drawn)",
    )
    parser.add_argument(
        "--suffix", metavar="N", type=int, help="error against FLOPs: average over the last N tasks (default: all)"
    )
    arguments = parser.parse_args(argv)

    from rich.console import Console

    from continual_df.commands.figures import draw_figures
    from continual_df.commands.open_world_tables import open_world_table
    from continual_df.commands.run_folders import find_runs, run_names
    from continual_df.commands.tables import results_table
    from continual_df.evaluation.results import METRICS, headline, load_results
    from continual_df.evaluation.run_files import prediction_files

    if arguments.metric not in (None, *METRICS):
        raise ConfigError(f"--metric '{arguments.metric}' is not known. Use one of {', '.join(METRICS)}.")
    out = arguments.out or default_folder(arguments.runs)
    found = find_runs(arguments.runs)
    # a sweep that is still going holds runs that have nothing to show yet; one named by itself is an error below
    runs = [run for run in found if len(found) == 1 or prediction_files(run)] or found
    results = {run: load_results(run) for run in runs}
    for run, result in results.items():
        if arguments.suffix is not None and not 1 <= arguments.suffix <= len(result["tasks"]):
            raise ConfigError(
                f"--suffix is {arguments.suffix}: '{run}' has {len(result['tasks'])} tasks. Give a number from 1 to that."
            )
    metric = arguments.metric or headline(results.values())
    paths, problems = draw_figures(results, out, metric, not arguments.no_images, arguments.reference, arguments.suffix)
    names = run_names(runs)
    console = Console()
    named = {names[run]: result for run, result in results.items()}
    console.print(results_table(named))
    if (table := open_world_table(named)) is not None:
        console.print(table)
    skipped = [f"Left out {run}: it has no predictions yet." for run in found if run not in results]
    for line in [*skipped, *problems, *map(str, paths)]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def default_folder(named: list[Path]) -> Path:
    """Return where the figures of the folders ``named`` on the command line go.

    Raises:
        ConfigError: If there are several: no one of them should carry the figures of all.
    """
    if len({folder.absolute() for folder in named}) > 1:
        raise ConfigError("Several runs were named and --out is missing. Add --out FOLDER for the figures.")
    return named[0] / "figures"
