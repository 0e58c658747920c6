"""``continual-df embed``: write the features that a run's models give its images, for the figures of the latent space."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from continual_df.commands.quiet import quieten
from continual_df.commands.run_features import run_features
from continual_df.commands.run_models import open_models, refuse_unfinished
from continual_df.data.stream import Stream
from continual_df.errors import ConfigError, Interrupted
from continual_df.evaluation.embedding_files import FOLDER, remove_embeddings, write_embedding
from continual_df.files import remove, renamed
from continual_df.run_folder import RunFolder
from continual_df.stop_signals import StopSignals


def main(argv: list[str]) -> int:
    """Embed the run named in ``argv``, print how well its memory stands for the data, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df embed",
        description="Extract the features of a run's images by its model after each task, for 'continual-df plot'. Settings "
        "that a resumed run may change can stand beside it, such as --trainer.accelerator cpu.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--split", choices=("test", "val"), default="test", help="images to show (default: test)")
    parser.add_argument("--max_rows", type=int, default=300, help="rows of each task's reals and fakes (default: 300)")
    parser.add_argument("--out", type=Path, help=f"folder to write (default: RUN/{FOLDER}, where 'plot' looks)")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.max_rows < 2:
        raise ConfigError(f"--max_rows is {arguments.max_rows}: it must be at least 2, or a domain has no spread.")
    run = arguments.run
    folder = refuse_unfinished(run, rest, "embed", "embedded")
    quieten()
    console = Console(highlight=False, soft_wrap=True)
    signals = StopSignals()
    try:
        with signals.handled():
            _embed(arguments, rest, folder, signals, console)
    except Interrupted as stop:
        console.print(f"Stopped by {signal.Signals(stop.signum).name}. Begin again with: continual-df embed {run}")
        return 128 + stop.signum
    return 0


def _embed(
    arguments: argparse.Namespace, rest: list[str], folder: RunFolder, signals: StopSignals, console: Console
) -> None:
    run, out = arguments.run, arguments.out or arguments.run / FOLDER
    models = open_models(folder, rest, "embedded", signals, console)
    stream = models.stream
    if not (stream.membership["split"] == arguments.split).any():
        raise ConfigError(f"--split {arguments.split}: the stream of '{run}' has no images in it.")
    remove_embeddings(out)
    remove(out / "memory.csv")
    reports = []
    for number, (embedding, report) in enumerate(run_features(models, arguments.split, arguments.max_rows), start=1):
        write_embedding(embedding, out)
        num, length = embedding.feature_ND.shape
        console.print(
            f"task {number}/{len(stream.tasks)} {stream.tasks[number - 1].name}: {num} rows of {length} features"
        )
        reports += [] if report is None else [report]
    if reports:
        memory = pd.concat(reports, ignore_index=True)
        with renamed(out / "memory.csv") as path:
            memory.to_csv(path, index=False)
        console.print(_memory_table(memory, stream))
    console.print(f"written to {out}; draw it with: continual-df plot {run}")


def _memory_table(memory: pd.DataFrame, stream: Stream) -> Table:
    """Return what each task's memory is like when the task has ended; beside each number, that of random samples."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, caption_justify="left")
    table.add_column("task")
    for heading in ("images", "in\nmemory", "Vendi\nscore", "\nrandom", "\nMMD", "\nrandom"):
        table.add_column(heading, justify="right", min_width=7)
    for row in memory.itertuples():
        name = f"{row.task + 1} {stream.tasks[row.task].name}, {'fake' if row.label else 'real'}"
        scores = [f"{value:.2f}" for value in (row.vendi_memory, row.vendi_random)]
        distances = [f"{value:.3f}" for value in (row.mmd_memory, row.mmd_random)]
        cells = [*scores, *distances] if row.num_memory else ["-"] * 4
        table.add_row(name, str(row.num), str(row.num_memory), *cells)
    table.caption = "Vendi score: more is more diverse. MMD to all images of the domain: less is closer. Random: mean of ten samples."
    return table
