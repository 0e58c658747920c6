"""``continual-df audit``: leaks, shortcuts and doubtful labels in the data of a run or a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from continual_df.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from continual_df.audit.report import Audit

FLAGGED = 1
"""Exit status with ``--strict`` where something is flagged; 2 is for input that cannot be read."""


def main(argv: list[str]) -> int:
    """Audit the run or table that ``argv`` names, print what was found, and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="continual-df audit",
        description="Look for leaks between splits, for shortcuts in trivial statistics of the files, and for labels that the "
        "run's own predictions contradict.",
    )
    parser.add_argument(
        "target",
        type=Path,
        metavar="RUN|CONFIG|TABLE",
        help="folder of a run; or what 'data check' takes: a YAML file with tables, or a .csv or .parquet frame table",
    )
    parser.add_argument("--root", metavar="DIR", help="folder of a table's images")
    parser.add_argument(
        "--train",
        action="store_true",
        help="look at the labels of training rows too, by features of the detector as it was before training; builds what "
        "the run's config.yaml names, so only for runs that you trust",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if something is flagged")
    parser.add_argument("--examples", type=int, default=10, metavar="N", help="doubtful labels to print (10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of folds and intervals (0)")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="JSON to write (RUN/audit.json; none for tables)"
    )
    arguments = parser.parse_args(argv)
    target, is_run = arguments.target, arguments.target.is_dir()
    if arguments.train and not is_run:
        raise ConfigError(f"--train needs the folder of a run, for its detector; '{target}' is none.")
    if arguments.root is not None and is_run:
        raise ConfigError(f"--root goes with a .csv or .parquet table; the run '{target}' knows where its images are.")

    from rich.console import Console

    from continual_df.files import renamed

    console = Console()
    found = _audit(console, target, arguments.root, arguments.train, arguments.seed)
    _print(console, found, arguments.examples)
    output = arguments.output or (target / "audit.json" if is_run else None)
    if output is not None:
        with renamed(output) as partial:
            partial.write_text(json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        console.print(f"{output}", soft_wrap=True, markup=False, highlight=False)
    return FLAGGED if arguments.strict and found.flagged() else 0


def _audit(console: Console, target: Path, root: str | None, train: bool, seed: int) -> Audit:
    """Return what is found in ``target``."""
    from continual_df.audit.files import check_files, check_tables
    from continual_df.audit.label_noise import held_out_noise, train_noise
    from continual_df.audit.leakage import find_leaks
    from continual_df.audit.report import Audit
    from continual_df.audit.shortcut import probe_domains, probe_methods
    from continual_df.audit.statistics import table_statistics
    from continual_df.audit.subject import of_run, of_table
    from continual_df.commands.data import Reading, load_table

    is_run = target.is_dir()
    subject = of_run(target) if is_run else of_table(target.name, load_table(target, root))
    with Reading(console) as progress:
        statistics, unreadable = table_statistics(subject.table, subject.samples, progress)
    files = check_files(subject, statistics, unreadable)
    noise, no_noise = [], "a table has no predictions: audit the folder of a run"
    if is_run:
        files.append(check_tables(subject, target / "config.yaml"))
        noise, no_noise = [held_out_noise(subject)], ""
    if train:
        from continual_df.commands.audit_features import train_features

        noise.append(train_noise(subject, *train_features(target, subject), seed=seed))
    rows = subject.rows()
    return Audit(
        subject.name,
        files,
        find_leaks(subject, statistics),
        probe_methods(rows, statistics, seed),
        probe_domains(rows, statistics, seed),
        noise,
        no_noise,
    )


def _print(console: Console, found: Audit, num_examples: int) -> None:
    """Print the sections in order, and at the end what is flagged."""
    from continual_df.commands.audit_tables import noise_counts, noise_lines, shortcut_table, threshold_line
    from continual_df.commands.data import print_checks

    def line(text: str, style: str = "") -> None:
        console.print(text, style=style or None, soft_wrap=True, markup=False, highlight=False)

    line("files", "bold")
    print_checks(console, found.files)
    line("\nleakage", "bold")
    print_checks(console, [leak.check for leak in found.leaks])
    for leak in found.leaks:
        for one, other, count in leak.between:
            line(f"{'':<12}{leak.check.name}: {count} between {one} and {other}")
    line("\nshortcut", "bold")
    console.print(shortcut_table("fakes against reals of their domain", ("method", "domain"), found.methods))
    if found.domains:
        console.print(shortcut_table("reals of two domains", ("domain", "domain"), found.domains))
    line(threshold_line())
    line("\nlabel noise", "bold")
    if found.no_noise:
        line(f"not checked: {found.no_noise}")
    for noise in found.noise:
        total = sum(noise.num_checked.values())
        line(f"{len(noise.rows)} of {total} labels are contradicted with confidence by {noise.evidence}")
        for note in noise.notes:
            line(f"note: {note}", "yellow")
        console.print(noise_counts(noise))
        if len(noise.rows) and num_examples > 0:
            for text in noise_lines(noise, num_examples):
                line(text)
    flagged = found.flagged()
    line(f"\nflagged: {len(flagged) or 'nothing'}", "bold")
    for item in flagged:
        line(f"  {item}")
