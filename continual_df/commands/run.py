"""``continual-df run``: train a method on a stream, evaluate it after every task."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console

from continual_df.callbacks.compute_ledger import ComputeLedger
from continual_df.callbacks.pair_quality import PairQuality
from continual_df.callbacks.step_checkpoint import StepCheckpoint
from continual_df.class_names import class_names
from continual_df.commands.figures import draw_figures
from continual_df.commands.quiet import quieten
from continual_df.commands.recipe import changes_since, recipe
from continual_df.commands.resume import refuse_other_stream, resume_arguments
from continual_df.commands.stream_cli import StreamCLI, find_packaged, parse_settings
from continual_df.commands.tables import COLUMNS, results_table
from continual_df.data.stream import Stream
from continual_df.errors import ConfigError, Interrupted
from continual_df.evaluation.results import headline
from continual_df.ledger import Ledger
from continual_df.loop import run_stream
from continual_df.metrics_log import MetricsLog
from continual_df.ranks import is_writer
from continual_df.requeue import Requeue, remove_leftovers
from continual_df.run_folder import RunFolder
from continual_df.run_lock import run_lock
from continual_df.run_state import RunState
from continual_df.search.trials import SearchTools
from continual_df.stop_signals import StopSignals
from continual_df.task import Task


def main(argv: list[str]) -> int:
    """Run a stream from the command line."""
    quieten()
    console = Console(highlight=False, soft_wrap=True)
    signals = StopSignals()
    folder = None
    try:
        with signals.handled():
            cli = parse_settings(resume_arguments(find_packaged(argv)))
            folder = RunFolder(Path(cli.config_init["run_dir"]))
            requeue = Requeue(cli.slurm)
            with requeue.handled():
                _run(cli, folder, console, signals, requeue)
    except Interrupted as stop:
        if is_writer():
            console.print(f"Stopped by {signal.Signals(stop.signum).name}. {_how_to_go_on(folder)}")
        return 128 + stop.signum
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    return 0


def _run(cli: StreamCLI, folder: RunFolder, console: Console, signals: StopSignals, requeue: Requeue) -> None:
    resumed = cli.config_init["resume"] is not None
    with contextlib.ExitStack() as stack:
        if is_writer() and resumed:
            stack.enter_context(run_lock(folder.path))
            for change in changes_since(folder.path / "config.yaml"):
                console.print(f"changed since the run began: {change}")
        if is_writer() and not resumed:
            folder.refuse_existing()
        stream = cli.datamodule.stream  # may take minutes, or fail; a new run makes no folder before
        if is_writer() and not resumed:
            stack.enter_context(run_lock(folder.path))
        try:
            if is_writer():
                _open(cli, stream, folder, console)
            results = _train(cli, folder, console, signals, requeue)
        except Exception:
            if not resumed:
                folder.discard_unstarted()
            raise
        if is_writer():
            paths, problems = draw_figures({folder.path: results}, folder.path / "figures", headline([results]))
            console.print(results_table({folder.path.name: results}))
            for line in [*problems, *(f"figure: {path}" for path in paths if path.suffix == ".png")]:
                console.print(line)


def _open(cli: StreamCLI, stream: Stream, folder: RunFolder, console: Console) -> None:
    """Create the run folder, or make sure that the run in it can go on."""
    if cli.config_init["resume"] is None:
        folder.create(recipe(cli))
        for reason, count in stream.table.skipped_by_reason().items():
            console.print(f"left out: {count} x {reason} ('continual-df data check' lists them)")
        return
    folder.remove_unfinished()
    remove_leftovers(Path(cli.config_init["trainer"]["default_root_dir"] or folder.path))
    refuse_other_stream(folder, stream)


def _train(
    cli: StreamCLI, folder: RunFolder, console: Console, signals: StopSignals, requeue: Requeue
) -> dict[str, Any]:
    log = MetricsLog(folder.path / "metrics.csv")
    max_flops, max_flops_total = cli.config_init["max_flops"], cli.config_init["max_flops_total"]
    ledger = ComputeLedger(Ledger(), max_flops, max_flops_total)
    across_tasks = [callback for callback in cli.callbacks if getattr(callback, "across_tasks", False)]
    state = RunState(ledger.ledger, log, across_tasks)
    checkpoint = StepCheckpoint(cli.config_init["checkpoint"], folder, state, signals, requeue)
    stream = cli.datamodule.stream

    def report(task: Task, results: dict[str, Any]) -> None:
        metric = headline([results])
        row = results["matrices"][metric][task.number]
        numbers = "  ".join("-" if value is None else f"{value:.3f}" for value in row)
        console.print(f"task {task.number}/{len(stream.tasks)} {task.name}: {COLUMNS[metric]} of all tasks  {numbers}")

    pair_quality = PairQuality(class_names(stream.table.frame, stream.names))

    def make_trainer(number: int) -> pl.Trainer:
        return cli.make_trainer(number, folder, log, checkpoint, [pair_quality, ledger])

    def make_trial(first: pl.Callback, share: float) -> pl.Trainer:
        budget = None if max_flops is None else share * max_flops
        return cli.make_trial(folder, first, ComputeLedger(ledger.ledger, budget, max_flops_total))

    search = SearchTools(cli.config_init["search"], cli.build_method, make_trial, cli.config["seed_everything"])
    searching = search if search.settings.trials else None
    return run_stream(cli.model, cli.datamodule, make_trainer, folder, checkpoint, report, searching)


def _how_to_go_on(folder: RunFolder | None) -> str:
    if folder is None or not (folder.path / "config.yaml").is_file():
        return "Nothing had been written."
    return f"Continue with: continual-df run --resume {folder.path}"
