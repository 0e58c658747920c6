"""A run that is there already, opened to ask its models about images."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from rich.console import Console

from continual_df.commands.recipe import changes_since
from continual_df.commands.resume import refuse_other_settings, refuse_other_stream
from continual_df.commands.stream_cli import StreamCLI, parse_settings
from continual_df.data.datamodule import StreamDataModule
from continual_df.data.stream import Stream
from continual_df.errors import RunFolderError
from continual_df.extraction import Extraction
from continual_df.methods import Method
from continual_df.run_folder import RunFolder
from continual_df.stop_signals import StopSignals


@dataclass(frozen=True)
class RunModels:
    """The models of a run and its data.

    Attributes:
        cli: The run's settings; its method as it was first built.
        folder: The run.
        signals: Asked where a prediction fails.
    """

    cli: StreamCLI
    folder: RunFolder
    signals: StopSignals

    @property
    def stream(self) -> Stream:
        """The run's stream."""
        stream: Stream = self.cli.datamodule.stream
        return stream

    def method(self, number: int) -> Method:
        """Return the method as it was after task ``number``."""
        method: Method = copy.deepcopy(
            self.cli.model
        )  # `restore` grows what a method of earlier tasks has grown already
        method.restore(self.stream.tasks[:number], self.folder.load_task(number)["state_dict"])
        return method

    def extraction(self, method: Method, data: StreamDataModule | None = None) -> Extraction:
        """Return what asks ``method`` about images of ``data``, the run's by default; one process, at the run's precision."""
        return Extraction(method, data or self.cli.datamodule, _trainer(self.cli.config_init["trainer"]), self.signals)


def refuse_unfinished(run: Path, rest: list[str], command: str, done: str) -> RunFolder:
    """Return the folder of ``run``, in which at least one task is finished; before anything is read.

    Args:
        run: The folder.
        rest: Settings beside it; only those that a resumed run may change can be.
        command: Name of the command.
        done: What it does to a run, for the message.

    Raises:
        ConfigError: Another setting stands beside it.
        RunFolderError: No task is finished.
    """
    folder = RunFolder(run)
    if not (run / "config.yaml").is_file() or not folder.last_task():
        raise RunFolderError(
            f"'{run}' cannot be {done}: it holds no config.yaml with a finished task in tasks/. Name the folder of a run "
            "that has finished one."
        )
    refuse_other_settings(run, rest, command)
    return folder


def open_models(folder: RunFolder, rest: list[str], done: str, signals: StopSignals, console: Console) -> RunModels:
    """Build what the run's config.yaml names, saying what has changed since; arguments as for `refuse_unfinished`.

    Raises:
        RunFolderError: Its data is not what it was.
    """
    config = folder.path / "config.yaml"
    cli = parse_settings(["--config", str(config), "--run_dir", str(folder.path), *rest])
    for change in changes_since(config):
        console.print(f"changed since the run began: {change}")
    refuse_other_stream(folder, cli.datamodule.stream, done)
    return RunModels(cli, folder, signals)


def _trainer(settings: dict[str, Any]) -> pl.Trainer:
    """Return a Trainer of one process that predicts at the run's precision."""
    return pl.Trainer(
        accelerator=settings["accelerator"],
        devices=1,
        precision=settings["precision"],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
