"""``continual-df compare``: methods side by side, over seeds, stream by stream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from continual_df.errors import ConfigError

if TYPE_CHECKING:
    from continual_df.commands.differences import Differences
    from continual_df.evaluation.comparison import StreamComparison
    from continual_df.evaluation.cost_comparison import CostComparison


def main(argv: list[str]) -> int:
    """Compare the runs named in ``argv``, print and write the tables, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df compare",
        description="Compare methods: average AUC, forgetting, BWT, final AUC of each task, memory, training FLOPs and seconds; error "
        "against compute, and against a reference; where methods without a name were met, attribution to methods, too. Runs that "
        "differ in their seed only are one method, with mean and spread; runs on different streams are never mixed. A paired "
        "bootstrap over test groups says which differences are real.",
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="folder of a run, or one that holds runs, or CSV of finished runs",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("comparison"), help="folder of the tables (default: comparison)"
    )
    parser.add_argument(
        "--baseline", metavar="NAME", help="method that the others are compared with (default: the best)"
    )
    parser.add_argument(
        "--draws", type=int, default=2000, help="draws of the bootstrap; 0 leaves it out (default: 2000)"
    )
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="source of images inside which attribution is compared (default: each with novel classes beside known ones)",
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="method against which regret, forward transfer and relative FLOPs are measured, such as one that starts every task "
        "anew (default: none)",
    )
    parser.add_argument(
        "--suffix",
        metavar="N",
        type=int,
        help="report the errors of the last N tasks; what was paid stays that of the whole stream (default: all tasks)",
    )
    parser.add_argument(
        "--error",
        metavar="METRIC",
        default="auc",
        help="metric whose shortfall from 1 is the error: auc, acc or top1 (default: auc)",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="column of runs.csv by whose mean the methods stand in order, best first (default: as given)",
    )
    arguments = parser.parse_args(argv)
    if arguments.draws < 0:
        raise ConfigError(f"--draws {arguments.draws} is negative. Give the number of draws, or 0 for no bootstrap.")

    from rich.console import Console
    from rich.markup import escape

    from continual_df.commands.comparison_report import captions, more_sections, write_tables
    from continual_df.commands.comparison_tables import comparison_tables, differences_table, section_tables
    from continual_df.commands.cost_columns import cost_notes
    from continual_df.commands.differences import find_differences
    from continual_df.commands.finished_runs import find_finished
    from continual_df.evaluation.comparison import RANKED_BY, compare_rows, describe_difference

    if arguments.sort not in (None, *RANKED_BY):
        raise ConfigError(f"--sort '{arguments.sort}' is not known. Use one of {', '.join(RANKED_BY)}.")
    runs = find_finished(arguments.runs)
    comparisons = compare_rows(runs.rows, runs.details)
    if arguments.sort is not None:
        comparisons = [comparison.ranked(arguments.sort) for comparison in comparisons]
    methods = {method.name: None for comparison in comparisons for method in comparison.methods}
    for flag, name in (("--baseline", arguments.baseline), ("--reference", arguments.reference)):
        if name is not None and name not in methods:
            raise ConfigError(f"{flag} '{name}' is not among the methods. Use one of {', '.join(methods)}.")
    sources = find_sources(comparisons, arguments.source)
    costs = find_costs(comparisons, arguments.error, arguments.suffix, arguments.reference)
    notes = [*runs.notes, *(describe_difference(other, comparisons[0]) for other in comparisons[1:])]
    notes += [
        note for comparison in comparisons for note in (*_partly_measured(comparison), *_mixed_devices(comparison))
    ]
    notes += [
        f"Nothing on '{cost.stream.title}' is measured against {arguments.reference}: it has no run there."
        for cost in costs
        if cost.reference != arguments.reference
    ]
    notes += [note for cost in costs for note in cost_notes(cost)]
    differences: dict[str, Differences] = {}
    for comparison in comparisons:
        found, problems = find_differences(comparison, runs.folders, arguments.baseline, arguments.draws)
        notes += problems
        if found is not None:
            differences[comparison.title] = found
    paths = write_tables(arguments.out, runs.rows, costs, differences, sources, notes)

    console = Console()
    for comparison, cost in zip(comparisons, costs, strict=True):
        console.rule(
            f"{escape(comparison.title)}: {len(comparison.tasks)} tasks, membership {comparison.stream_hash[:8]}",
            align="left",
        )
        for table in comparison_tables(comparison, console.width):
            console.print(table)
            console.print()
        for title, section in more_sections(cost, sources[comparison.title]).items():
            console.print(title, markup=False, highlight=False)
            for table in section_tables(comparison, section, console.width):
                console.print(table)
                console.print()
        if comparison.title in differences:
            console.print(differences[comparison.title].title, markup=False, highlight=False)
            console.print(differences_table(differences[comparison.title]))
            console.print()
    for line in [*captions(costs, differences), *notes]:
        console.print(line, markup=False, highlight=False)
    for path in paths:
        console.print(str(path), soft_wrap=True, markup=False, highlight=False)
    return 0


def find_sources(comparisons: list[StreamComparison], wanted: str | None) -> dict[str, list[str]]:
    """Return the sources inside which attribution is shown, by the title of the stream.

    Raises:
        ConfigError: If no stream has the source that is ``wanted``.
    """
    if wanted is None:
        return {one.title: one.mixed_sources for one in comparisons}
    known = sorted({name for one in comparisons for name in one.sources})
    if wanted not in known:
        raise ConfigError(
            f"--source '{wanted}': no run has scores of attribution inside it. Use one of {', '.join(known)}."
            if known
            else f"--source '{wanted}': no run has scores of attribution inside a source. Leave it out."
        )
    return {one.title: [wanted] for one in comparisons}


def find_costs(
    comparisons: list[StreamComparison], metric: str, suffix: int | None, reference: str | None
) -> list[CostComparison]:
    """Return error against compute on every stream; without the reference where the stream has no run of it.

    Raises:
        ConfigError: If the metric is not known, or a stream has fewer tasks than ``suffix``.
    """
    from continual_df.evaluation.cost_comparison import CostComparison
    from continual_df.evaluation.cost_summary import OWN

    if metric not in OWN:
        raise ConfigError(f"--error '{metric}' is not known. Use one of {', '.join(OWN)}.")
    costs = []
    for stream in comparisons:
        known = reference if any(method.name == reference for method in stream.methods) else None
        try:
            costs.append(CostComparison(stream, metric, suffix, known))
        except ValueError as error:
            raise ConfigError(f"--{error}. Give a number from 1 to that.") from None
    return costs


def _partly_measured(comparison: StreamComparison) -> list[str]:
    """Return a sentence for each method whose memory could be measured in some of its runs only."""
    from continual_df.evaluation.comparison import Quantity

    notes = []
    for method in comparison.methods:
        measured, num = method.spread(Quantity("memory_bytes")).num, len(method.rows)
        if 0 < measured < num:
            notes.append(
                f"Memory of {method.name} on '{comparison.title}': the files are there for {measured} of {num} runs."
            )
    return notes


def _mixed_devices(comparison: StreamComparison) -> list[str]:
    """Return a sentence that says on what the methods were trained, if not all on the same."""
    if len(comparison.devices) < 2:
        return []
    trained = [
        f"{device or 'not noted'} ({', '.join(method.name for method in comparison.methods if device in method.devices)})"
        for device in sorted(comparison.devices)
    ]
    sentence = (
        f"Training seconds on '{comparison.title}' are of several devices: {'; '.join(trained)}. A method trained on more "
        "than one has none."
    )
    return [sentence]
