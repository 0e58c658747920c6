"""``continual-df compare``: methods side by side, over seeds, stream by stream."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from continual_df.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    from continual_df.commands.comparison_tables import Differences
    from continual_df.evaluation.comparison import StreamComparison
    from continual_df.evaluation.run_summary import Row

SAME_RUN = ("stream_hash", "tasks", "recipe", "seed", "final_auc", "train_flops", "train_seconds")
"""Columns in which no two runs agree."""

LEVEL = 0.95
SEED = 0


class Runs(NamedTuple):
    """Finished runs: their rows, the folder of each where it is at hand, what tells it apart, and what was left out."""

    rows: list[Row]
    folders: list[Path | None]
    details: list[str]
    notes: list[str]


def main(argv: list[str]) -> int:
    """Compare the runs named in ``argv``, print and write the tables, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df compare",
        description="Compare methods: average AUC, forgetting, BWT, final AUC of each task, memory, training FLOPs and "
        "seconds; where methods without a name were met, attribution to methods, too. Runs that differ in their seed only are one method, with mean and spread; runs on different streams are "
        "never mixed. A paired bootstrap over test groups says which differences are real.",
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
    arguments = parser.parse_args(argv)
    if arguments.draws < 0:
        raise ConfigError(f"--draws {arguments.draws} is negative. Give the number of draws, or 0 for no bootstrap.")

    from rich.console import Console
    from rich.markup import escape

    from continual_df.commands.comparison_tables import (
        attribution_sections,
        comparison_tables,
        differences_table,
        section_tables,
    )
    from continual_df.evaluation.comparison import compare_rows, describe_difference

    runs = find_finished(arguments.runs)
    comparisons = compare_rows(runs.rows, runs.details)
    methods = {method.name: None for comparison in comparisons for method in comparison.methods}
    if arguments.baseline is not None and arguments.baseline not in methods:
        raise ConfigError(
            f"--baseline '{arguments.baseline}' is not among the methods. Use one of {', '.join(methods)}."
        )
    sources = find_sources(comparisons, arguments.source)
    notes = [*runs.notes, *(describe_difference(other, comparisons[0]) for other in comparisons[1:])]
    notes += [note for comparison in comparisons for note in _partly_measured(comparison)]
    differences: dict[str, Differences] = {}
    for comparison in comparisons:
        found, problems = find_differences(comparison, runs.folders, arguments.baseline, arguments.draws)
        notes += problems
        if found is not None:
            differences[comparison.title] = found
    paths = write_tables(arguments.out, runs.rows, comparisons, differences, sources, notes)

    console = Console()
    for comparison in comparisons:
        console.rule(
            f"{escape(comparison.title)}: {len(comparison.tasks)} tasks, membership {comparison.stream_hash[:8]}",
            align="left",
        )
        for table in comparison_tables(comparison, console.width):
            console.print(table)
            console.print()
        for title, section in attribution_sections(comparison, sources[comparison.title]).items():
            console.print(title, markup=False, highlight=False)
            for table in section_tables(comparison, section, console.width):
                console.print(table)
                console.print()
        if comparison.title in differences:
            console.print(differences[comparison.title].title, markup=False, highlight=False)
            console.print(differences_table(differences[comparison.title]))
            console.print()
    for line in [*captions(comparisons, differences), *notes]:
        console.print(line, markup=False, highlight=False)
    for path in paths:
        console.print(str(path), soft_wrap=True, markup=False, highlight=False)
    return 0


def find_finished(named: list[Path]) -> Runs:
    """Return the finished runs in folders and CSV files, each once, and one sentence on what was left out.

    Raises:
        RunFolderError: If there is none, or a file is broken.
    """
    from continual_df.commands.run_folders import find_runs, run_names
    from continual_df.evaluation.run_summary import read_summaries, run_summary, what_is_missing

    tables = [path for path in named if path.suffix == ".csv" and not path.is_dir()]
    found = find_runs([path for path in named if path not in tables])
    lacking = {run: missing for run in found if (missing := what_is_missing(run))}
    finished = [run for run in found if run not in lacking]
    names = run_names(finished)
    entries: list[tuple[Row, Path | None, str]] = [(run_summary(run), run, names[run]) for run in finished]
    entries += [(row, None, str(row["run"])) for path in tables for row in read_summaries(path)]
    once: dict[tuple[object, ...], tuple[Row, Path | None, str]] = {}
    for row, folder, detail in entries:
        key = tuple(row[column] for column in SAME_RUN)
        # a sweep's file has its own names for what stands in the folders
        once[key] = (row, once[key][1] if key in once else folder, detail)
    notes = [f"Left out {len(lacking)} of {len(found)} runs, not finished:"] if lacking else []
    notes += [f"  {run}: {missing}" for run, missing in lacking.items()]
    if len(once) < len(entries):
        notes.append(f"{len(entries) - len(once)} of {len(entries)} rows stand there twice, and count once.")
    if not once:
        raise RunFolderError(" ".join(["No run is finished, so there is nothing to compare.", *map(str.strip, notes)]))
    rows, folders, details = zip(*once.values(), strict=True)
    return Runs(list(rows), list(folders), list(details), notes)


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


def captions(comparisons: list[StreamComparison], differences: dict[str, Differences]) -> list[str]:
    """Return what the numbers of the tables are."""
    from continual_df.commands.comparison_tables import ATTRIBUTION_CAPTION, CAPTION, DIFFERENCES_CAPTION

    attribution = [ATTRIBUTION_CAPTION] if any(one.attribution() for one in comparisons) else []
    return [CAPTION, *attribution, *([DIFFERENCES_CAPTION] if differences else [])]


def find_differences(
    comparison: StreamComparison, folders: list[Path | None], baseline: str | None, num_draws: int
) -> tuple[Differences | None, list[str]]:
    """Return how far each method is from the baseline or the best one, and a sentence on what could not be compared.

    Args:
        comparison: Methods on one stream.
        folders: The folder of every run; None where only its row is at hand.
        baseline: A method; where the stream lacks it, or None, the one with the best average AUC.
        num_draws: Number of draws; 0 for no comparison.
    """
    from continual_df.commands.comparison_tables import Differences
    from continual_df.evaluation.bootstrap import paired_bootstrap
    from continual_df.evaluation.comparison import Quantity
    from continual_df.evaluation.paired_runs import read_paired

    if num_draws == 0 or len(comparison.methods) < 2:
        return None, []
    runs: dict[str, list[Path]] = {}
    averages: dict[str, float] = {}
    for method in comparison.methods:
        own = [folder for at in method.positions if (folder := folders[at]) is not None]
        average = method.spread(Quantity("average_auc")).mean
        if len(own) == len(method.rows) and average is not None:
            runs[method.name], averages[method.name] = own, average
    absent = [method.name for method in comparison.methods if method.name not in runs]
    notes = []
    if absent:
        whom = f" for {', '.join(absent)}" if runs else ""
        notes.append(
            f"No bootstrap on '{comparison.title}'{whom}: it needs the run folders of all seeds, with their predictions."
        )
    chosen = baseline if baseline in runs else max(averages, key=lambda name: averages[name], default=None)
    if baseline is not None and chosen != baseline:
        notes.append(f"On '{comparison.title}' {baseline} cannot be the baseline; it is {chosen}.")
    if chosen is None or len(runs) < 2:
        return None, notes
    paired = read_paired(runs)
    if paired.num_dropped:
        notes.append(
            f"Bootstrap on '{comparison.title}': {paired.num_dropped} test images that some run has not predicted are left out "
            "of all."
        )
    found = paired_bootstrap(paired.sets, paired.scores, chosen, num=num_draws, seed=SEED, level=LEVEL)
    return Differences(chosen, found, num_draws, LEVEL), notes


def write_tables(
    out: Path,
    rows: list[Row],
    comparisons: list[StreamComparison],
    differences: dict[str, Differences],
    sources: dict[str, list[str]],
    notes: list[str],
) -> list[Path]:
    """Write ``comparison.md``, ``comparison.csv``, ``differences.csv`` and ``runs.csv`` to ``out``; return their paths."""
    from continual_df.commands.comparison_tables import comparison_csv, differences_csv, markdown
    from continual_df.evaluation.run_summary import format_summaries
    from continual_df.files import renamed

    streams = [markdown(one, differences.get(one.title), sources[one.title]) for one in comparisons]
    said = [*(line for text in captions(comparisons, differences) for line in text.splitlines()), *notes]
    text = "\n".join(["# Comparison\n", *streams, "## What the numbers are\n", "\n\n".join(map(str.strip, said))])
    contents = {
        "comparison.md": f"{text}\n",
        "comparison.csv": comparison_csv(comparisons),
        "differences.csv": differences_csv(comparisons, differences),
        "runs.csv": format_summaries(rows),
    }
    for name, text in contents.items():
        with renamed(out / name) as path:
            path.write_text(text, encoding="utf-8")
    return [out / name for name in contents]


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
