"""``continual-df forge``: make a data set of procedural forgeries from real face photos."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from continual_df.errors import ConfigError

if TYPE_CHECKING:
    from continual_df.data.frame_table import FrameTable
    from continual_df.forgeries.reals import Real

SHOWN = 10
"""Skipped files that are listed."""


def main(argv: list[str]) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.list or arguments.methods == "list":
        _print_operators()
        return 0
    missing = [f"--{name}" for name in ("reals", "methods", "out") if getattr(arguments, name) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} must be given; see 'continual-df forge --help'.")
    methods = [name.strip() for name in arguments.methods.split(",") if name.strip()]

    from continual_df.forgeries.builder import forge
    from continual_df.forgeries.geometry import CANONICAL, ORL
    from continual_df.forgeries.operators import select

    select(methods)  # a misspelt method is refused before any photo is looked for
    reals, source = _reals(arguments)
    geometry = {"canonical": CANONICAL, "orl": ORL}[arguments.geometry or ("orl" if source == "orl" else "canonical")]
    table = forge(
        reals,
        methods,
        Path(arguments.out),
        size=arguments.size,
        seed=arguments.seed,
        workers=arguments.workers,
        working_size=arguments.working_size,
        quality=_quality(arguments.quality),
        fractions=_shares(arguments.splits),
        geometry=geometry,
        source=source,
        max_unreadable=arguments.max_unreadable,
        progress=True,
    )
    _print_result(table, Path(arguments.out), source)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="continual-df forge",
        description=(
            "Make procedural forgeries, with masks, from real face photos. Reals, forgeries and controls go through the "
            "same resizing and JPEG encoding; the people of train, val and test are disjoint, donors of swaps included. "
            "Faces are expected roughly aligned and upright: eyes level, at about 38% and 62% of the width and 47% of "
            "the height of the central square (DeepfakeBench's crop)."
        ),
        epilog="The folder holds frames/, masks/, one DeepfakeBench JSON a method, and table.parquet.",
    )
    add = parser.add_argument
    add("--reals", metavar="DIR|orl|drawn:N", help="<identity>/*.jpg or *.jpg below DIR; the 400 ORL faces of the extra "
        "'demo'; or N drawn faces")  # fmt: skip
    add("--methods", metavar="A,B,C", help="operators, by name; 'list' prints them")
    add("--list", action="store_true", help="print the operators by family, and stop")
    add("--out", metavar="DIR", help="folder to make; refused if it exists and is not empty")
    add("--size", type=int, default=128, help="side of the written images in pixels (default %(default)s)")
    add("--working-size", type=int, metavar="PX", help="side at which faces are forged (default: --size)")
    add("--seed", type=int, default=0, help="same seed, same bytes (default %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: all cores)")
    add("--quality", default="75-95", metavar="LOW-HIGH", help="JPEG quality, drawn per photo (default %(default)s)")
    add("--splits", default="0.6,0.15,0.25", metavar="TRAIN,VAL,TEST", help="shares of people (default %(default)s)")
    add("--geometry", choices=("canonical", "orl"), help="where eyes, nose and mouth are (default: canonical, or orl "
        "for --reals orl)")  # fmt: skip
    add("--max-unreadable", type=float, default=0.05, metavar="SHARE", help="stop when a larger share of the photos "
        "cannot be read (default %(default)s)")  # fmt: skip
    return parser


def _reals(arguments: argparse.Namespace) -> tuple[list[Real], str]:
    """Return the reals and the name of their domain."""
    from continual_df.forgeries.reals import drawn_reals, orl_reals, reals_from_folder

    wanted: str = arguments.reals
    if wanted == "orl":
        return orl_reals(), "orl"
    if wanted.startswith("drawn:"):
        count = wanted.removeprefix("drawn:")
        if not count.isdigit() or int(count) == 0:
            raise ConfigError(f"'{wanted}' names no number of drawn faces. Write, for example, drawn:1000.")
        return drawn_reals(int(count), arguments.seed, arguments.working_size or arguments.size), "drawn"
    root = Path(wanted)
    return reals_from_folder(root), root.resolve().name or "photos"


def _quality(text: str) -> tuple[int, int]:
    """Return the two numbers of ``LOW-HIGH``."""
    match = re.fullmatch(r"(\d+)-(\d+)", text.strip())
    if match is None:
        raise ConfigError(f"--quality takes two whole numbers, as in 75-95, got '{text}'.")
    return int(match[1]), int(match[2])


def _shares(text: str) -> tuple[float, float, float]:
    """Return the three numbers of ``TRAIN,VAL,TEST``."""
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--splits takes three numbers, as in 0.6,0.15,0.25, got '{text}'.") from None
    return train, val, test


def _print_operators() -> None:
    """Print the operators by family."""
    from rich.console import Console
    from rich.table import Table

    from continual_df.forgeries.operators import operators

    table = Table("family", "method", "what it does", title="Forgery methods")
    last = ""
    for operator in operators().values():
        summary = (type(operator).__doc__ or "").strip().split("\n\n")[0]
        words = " ".join(summary.split())
        table.add_row(operator.family if operator.family != last else "", operator.name, words)
        last = operator.family
    Console().print(table)


def _print_result(table: FrameTable, out: Path, source: str) -> None:
    """Print counts by split x method, what was skipped, and where the files are."""
    from rich.console import Console
    from rich.table import Table

    from continual_df.data.frame_table import SPLITS

    console = Console()
    counts = table.frame.groupby(["method", "split"], sort=False).size().unstack(fill_value=0)
    shown = Table("method", "label", *SPLITS)
    for method in counts.index:
        label = "fake" if (table.frame.loc[table.frame["method"] == method, "label"] == 1).any() else "real"
        shown.add_row(method, label, *[str(counts.loc[method].get(split, 0)) for split in SPLITS])
    console.print(shown)
    if table.skipped:
        console.print(f"skipped {len(table.skipped)} photos that cannot be read:")
        for item in table.skipped[:SHOWN]:
            console.print(f"  {item.reason}", markup=False)
        if len(table.skipped) > SHOWN:
            console.print(f"  and {len(table.skipped) - SHOWN} more")
    if source == "orl":
        from continual_df.forgeries.reals import ORL_CREDIT

        console.print(ORL_CREDIT)
    elif source == "drawn":
        console.print("The reals are drawn faces, not photos.")
    console.print(f"written to {out}", markup=False)
