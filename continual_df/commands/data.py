"""``continual-df data``: check a data set for leaks, build its frame table, or write a stream of NEVIS'22."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from continual_df.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from continual_df.data.check import Check
    from continual_df.data.file_pool import Progress
    from continual_df.data.frame_table import FrameTable

FOUND = 1
"""Exit status of ``data check`` where it finds a leak or a changed file; 2 is for input that cannot be read."""


def main(argv: list[str]) -> int:
    """Run ``data check``, ``data build`` or ``data nevis`` and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="continual-df data", description="Check a data set, build its frame table, or write a stream of NEVIS'22."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    check = commands.add_parser(
        "check",
        help="print counts, what is skipped, leaks between splits and changed files; exit with 1 if there are any",
    )
    check.add_argument("--no-hash", action="store_true", help="do not look for identical or changed files")
    build = commands.add_parser("build", help="write the frame table as Parquet and print its counts")
    build.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .parquet file to write")
    build.add_argument("--hash", action="store_true", help="store a hash of every file in the column 'hash'")
    nevis = commands.add_parser(
        "nevis", help="write the settings of a stream of NEVIS'22 over the data sets that are in folders of a folder"
    )
    nevis.add_argument("--root", required=True, metavar="DIR", help="folder of the data sets, each in one of its own")
    nevis.add_argument("--stream", choices=("FULL", "SHORT", "TINY"), default="SHORT", help="(default: SHORT)")
    nevis.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .yaml file to write")
    for command in (check, build):
        command.add_argument(
            "target",
            type=Path,
            metavar="CONFIG|TABLE",
            help="experiment or YAML file with a list 'tables' of readers; or a .csv or .parquet frame table",
        )
        command.add_argument("--root", metavar="DIR", help="folder of a table's images")
        command.add_argument("--split-seed", type=int, metavar="N", help="make new splits by group with this seed")
        command.add_argument(
            "--fractions", type=_fractions, metavar="A,B,C", help="shares of train, val and test (.7,.1,.2)"
        )
        command.add_argument("--all", action="store_true", help="list everything that is skipped, not examples")
    arguments = parser.parse_args(argv)
    if arguments.command == "nevis":
        from continual_df.commands.nevis import write_nevis

        return write_nevis(arguments.root, arguments.stream, arguments.out)
    if arguments.fractions and arguments.split_seed is None:
        raise ConfigError("--fractions needs --split-seed: splits are made only with a seed. Add --split-seed 0.")
    if arguments.command == "build" and arguments.output.suffix != ".parquet":
        raise ConfigError(f"--output is '{arguments.output}'. Frame tables are written as .parquet.")

    from rich.console import Console

    console = Console()
    table = load_table(arguments.target, arguments.root)
    if arguments.split_seed is not None:
        from continual_df.data.splits import split_by_group

        table.frame["split"] = split_by_group(table.frame, arguments.fractions or (0.7, 0.1, 0.2), arguments.split_seed)
    _print_counts(console, table)
    _print_skipped(console, table, arguments.all)
    if arguments.command == "check":
        return _check(console, table, not arguments.no_hash)
    return _build(console, table, arguments.output, arguments.hash)


def _fractions(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected three numbers like .7,.1,.2, found '{text}'") from None


def load_table(target: Path, root: str | None) -> FrameTable:
    """Return the frame table that ``target`` is, or that its readers give."""
    if target.suffix.lower() in (".csv", ".parquet"):
        from continual_df.data.readers import TableFile

        return TableFile(str(target), root).read()
    if root is not None:
        raise ConfigError(f"--root goes with a .csv or .parquet table. Set the roots of the readers in '{target}'.")
    from continual_df.data.tables import load_tables

    return load_tables(target)


def _check(console: Console, table: FrameTable, hashes: bool) -> int:
    import pandas as pd

    from continual_df.data.check import check_changed, check_leaks
    from continual_df.data.file_hashes import hash_readable
    from continual_df.data.table_digest import table_digest
    from continual_df.data.verify import stored_hashes

    digest, checks = table_digest(table.frame), []
    with Reading(console) as progress:
        if hashes and (stored_hashes(table.frame) != "").any():
            read = hash_readable(table, pd.Series(True, index=table.frame.index), progress)
            checks = [check_changed(table.frame, read)]
            table.frame["hash"] = read
        checks = [*check_leaks(table, hashes=hashes, progress=progress), *checks]
    print_checks(console, checks)
    if any("split missing" in check.detail for check in checks):
        console.print("Some rows have no split: --split-seed N makes splits by group.", highlight=False)
    console.print(f"table digest: {digest}", highlight=False, soft_wrap=True)
    return FOUND if any(check.status in ("leak", "changed") for check in checks) else 0


def _build(console: Console, table: FrameTable, output: Path, hashes: bool) -> int:
    from continual_df.data.file_hashes import hash_files
    from continual_df.data.frame_table import write_table
    from continual_df.data.table_digest import table_digest
    from continual_df.data.verify import changed_rows, stored_hashes

    if hashes:
        with Reading(console) as progress:
            read = hash_files(table, progress)
        changed = table.frame.loc[changed_rows(stored_hashes(table.frame), read), "path"]
        if len(changed):
            text = f"{len(changed)} files changed since they were hashed, the first is '{changed.iloc[0]}'"
            console.print(text, soft_wrap=True, markup=False, highlight=False)
        table.frame["hash"] = read
    output.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, output)
    digest = table_digest(table.frame)
    console.print(f"{len(table)} rows in {output}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"table digest: {digest}", highlight=False, soft_wrap=True)
    return 0


class Reading:
    """A progress bar for reading files, shown on terminals only and gone at the end."""

    def __init__(self, console: Console) -> None:
        from rich.progress import Progress as Bar

        self._bar = Bar(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("reading files", total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _print_counts(console: Console, table: FrameTable) -> None:
    """Print images by source and method, a column a split."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    frame = table.frame
    split = frame["split"].replace("", "no split") if "split" in frame.columns else "no split"
    counts = frame.assign(split=split).groupby(["source", "method", "split"]).size().unstack(fill_value=0)
    shown = [name for name in ("train", "val", "dev_test", "test", "no split") if name in counts.columns]
    grid = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=f"{len(frame)} images below {table.root}", title_justify="left"
    )
    for name in ("source", "method"):
        grid.add_column(name, overflow="fold")
    for name in (*shown, "all"):
        grid.add_column(name, justify="right", no_wrap=True)
    for (source, method), row in counts.iterrows():
        grid.add_row(Text(source), Text(method), *(str(row[name]) for name in shown), str(row.sum()))
    grid.add_section()
    grid.add_row("all", "", *(str(counts[name].sum()) for name in shown), str(len(frame)), style="bold")
    console.print(grid)


def _print_skipped(console: Console, table: FrameTable, everything: bool) -> None:
    """Print how many entries were left out, by reason, and which."""
    examples: dict[str, list[str]] = {}
    for item in table.skipped:
        examples.setdefault(item.reason, []).append(item.entry)
    for reason, entries in sorted(examples.items()):
        console.print(f"skipped {len(entries)}: {reason}", soft_wrap=True, markup=False, highlight=False)
        for entry in entries if everything else entries[:3]:
            console.print(f"    {entry}", soft_wrap=True, markup=False, highlight=False)
        if not everything and len(entries) > 3:
            console.print(f"    ... (--all lists {len(entries) - 3} more)", markup=False, highlight=False)
    if not examples:
        console.print("skipped nothing")


def print_checks(console: Console, checks: list[Check]) -> None:
    """Print one line a check, and examples of what it found below it."""
    styles = {"ok": "green", "not checked": "yellow"}
    console.print()
    for check in checks:
        console.print(f"{check.status:<12}", style=styles.get(check.status, "bold red"), end="", highlight=False)
        console.print(f"{check.name}: {check.detail}", soft_wrap=True, markup=False, highlight=False)
        for example in check.examples:
            console.print(f"{'':<12}  {example}", soft_wrap=True, markup=False, highlight=False)
