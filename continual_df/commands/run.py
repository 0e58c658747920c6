"""``continual-df run``: train a method on a stream, evaluate it after every task."""

from __future__ import annotations

import copy
import logging
import re
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from rich.console import Console

from continual_df.callbacks.compute_ledger import ComputeLedger
from continual_df.commands.config_errors import explain, first_alternative, locate
from continual_df.commands.figures import draw_figures
from continual_df.commands.tables import results_table
from continual_df.data import readers
from continual_df.data.datamodule import BenchmarkStream, ForgeryStream, StreamDataModule
from continual_df.errors import ConfigError
from continual_df.ledger import Ledger
from continual_df.loop import run_stream
from continual_df.memory import ReplayMemory
from continual_df.methods import Finetune, Joint, Method, Replay
from continual_df.metrics_log import MetricsLog
from continual_df.models.detector import TimmDetector
from continual_df.run_folder import RunFolder, is_writer
from continual_df.task import Task

CLASSES = (BenchmarkStream, ForgeryStream, Finetune, Joint, Replay, ReplayMemory, TimmDetector)
"""Imported, as all readers are, so that a YAML may use the bare class name as class_path."""

QUIET = (
    ".*LeafSpec.*",
    ".*number of training batches.*logging interval.*",
    ".*does not have many workers.*",
    ".*LightningCLI.s args parameter.*",
)
"""Warnings of libraries that tell a user nothing that they could act on."""

PACKAGES = ("continual-df", "torch", "torchvision", "pytorch-lightning", "timm", "avalanche-lib", "numpy", "pandas")


class RunParser(LightningArgumentParser):
    """Lightning's parser, whose errors are one sentence instead of the usage text."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse a wrong setting.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(explain(message, self, [*readers.__all__, *(cls.__name__ for cls in CLASSES)])) from ex


class StreamCLI(LightningCLI):
    """LightningCLI that makes a fresh Trainer for each task, from settings that no task changes."""

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(
            Method,
            StreamDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            run=False,
            auto_configure_optimizers=False,
            args=arguments,
            trainer_defaults={"use_distributed_sampler": False, "enable_model_summary": False},
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "prog": "continual-df run",
                "description": __doc__,
                "allow_abbrev": False,
            },
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        """Return the parser with our errors."""
        parser = RunParser(**kwargs)
        parser.add_argument(
            "-c", "--config", action="config", help="YAML file; several are merged in order, later ones win"
        )
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the settings that stand beside Lightning's own."""
        parser.add_argument("--run_dir", type=str, default="runs/run", help="folder that the run writes; must be new")
        parser.add_argument("--max_flops", type=float | None, default=None, help="training FLOPs of each task at most")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def instantiate_classes(self) -> None:
        """Instantiate everything but the Trainer."""
        self.config_init = self.parser.instantiate(self.config)
        self.model, self.datamodule = self.config_init["model"], self.config_init["data"]

    def make_trainer(
        self, number: int, folder: RunFolder, log: MetricsLog, across_tasks: list[pl.Callback]
    ) -> pl.Trainer:
        """Return a fresh Trainer for task ``number``.

        Callbacks of the YAML are copied from their pristine state (a reused EarlyStopping keeps the last task's best),
        but those that say ``across_tasks = True``. ModelCheckpoints without a folder write into the run folder.
        """
        settings = dict(self.config_init["trainer"])
        for name in ("strategy", "plugins", "profiler"):  # objects of the YAML; a second Trainer refuses a used one
            settings[name] = copy.deepcopy(settings[name])
        given = settings["callbacks"] or []
        pristine = [given] if isinstance(given, pl.Callback) else given
        callbacks = [cb if getattr(cb, "across_tasks", False) else copy.deepcopy(cb) for cb in pristine]
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(folder.epochs(number))
        if settings["enable_checkpointing"] is None:
            settings["enable_checkpointing"] = any(isinstance(cb, ModelCheckpoint) for cb in callbacks)
        log.task = number
        extra = settings["logger"]
        loggers = extra if isinstance(extra, list) else [] if extra in (None, True, False) else [extra]
        settings |= {"callbacks": [*callbacks, *across_tasks], "logger": [log, *loggers]}
        settings["default_root_dir"] = settings["default_root_dir"] or str(folder.path)
        return pl.Trainer(**settings)


def main(argv: list[str]) -> int:
    """Run a stream from the command line."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for pattern in QUIET:
        warnings.filterwarnings("ignore", pattern)
    cli = _parse(_find_packaged(argv))
    folder = RunFolder(Path(cli.config_init["run_dir"]))
    console = Console(highlight=False, soft_wrap=True)
    if is_writer():
        folder.refuse_existing()
    stream = cli.datamodule.stream
    if is_writer():
        folder.create(_recipe(cli))
        for reason, count in stream.table.skipped_by_reason().items():
            console.print(f"left out: {count} x {reason} ('continual-df data check' lists them)")
    ledger = Ledger()
    across_tasks: list[pl.Callback] = [ComputeLedger(ledger, max_flops=cli.config_init["max_flops"])]
    log = MetricsLog(folder.path / "metrics.csv")

    def report(task: Task, results: dict[str, Any]) -> None:
        row = results["matrices"]["auc"][task.number]
        numbers = "  ".join("-" if value is None else f"{value:.3f}" for value in row)
        console.print(f"task {task.number}/{len(stream.tasks)} {task.name}: AUC of all tasks  {numbers}")

    def make_trainer(number: int) -> pl.Trainer:
        return cli.make_trainer(number, folder, log, across_tasks)

    try:
        results = run_stream(cli.model, cli.datamodule, make_trainer, folder, ledger, report)
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    finally:
        folder.discard_unstarted()
    if is_writer():
        paths, problems = draw_figures({folder.path: results}, folder.path / "figures")
        console.print(results_table({folder.path.name: results}))
        for line in [*problems, *(f"figure: {path}" for path in paths if path.suffix == ".png")]:
            console.print(line)
    return 0


def _parse(argv: list[str]) -> StreamCLI:
    """Return the settings, or refuse them with the file and line of what is wrong."""
    try:
        return StreamCLI(argv)
    except OmegaConfBaseException as error:
        variable = re.search(r"Environment variable '([^']+)'", str(error))
        place = re.search(r"full_key: (\S+)", str(error))
        what = f"the environment variable {variable[1]} is not set" if variable else str(error).partition("\n")[0]
        raise ConfigError(f"{place[1] if place else 'configuration'}: {what}.") from error
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(first_alternative(str(error))) from error
    except ConfigError as error:
        raise ConfigError(locate(str(error), _config_files(argv))) from error


def _config_files(argv: list[str]) -> list[Path]:
    """Return the YAML files that ``argv`` names, the last one first, as it wins."""
    names = [
        word.partition("=")[2] or following
        for word, following in zip(argv, [*argv[1:], ""], strict=True)
        if word.partition("=")[0] in ("-c", "--config")
    ]
    return [Path(name) for name in reversed(names) if Path(name).is_file()]


def _find_packaged(argv: list[str]) -> list[str]:
    """Let ``--config experiments/NAME.yaml`` name an experiment of the installed package, wherever one stands."""
    packaged = Path(__file__).parent.parent
    found = list(argv)
    for place, word in enumerate(argv):
        flag, _, value = word.partition("=")
        if flag not in ("-c", "--config"):
            continue
        name = value or (argv[place + 1] if place + 1 < len(argv) else "")
        if name.startswith("experiments/") and not Path(name).exists() and (packaged / name).is_file():
            found[place if value else place + 1] = f"{flag}={packaged / name}" if value else str(packaged / name)
    return found


def _recipe(cli: StreamCLI) -> str:
    """Return the resolved configuration, headed by versions and the git commit."""
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    head = f"# {versions}\n# python {sys.version.split()[0]}, git commit {_git_commit()}\n"
    return head + str(cli.parser.dump(cli.config))


def _git_commit() -> str:
    """Return the commit of the package's checkout, with a mark where files were changed, or what is known instead."""
    here = Path(__file__).resolve().parent.parent
    if not (here.parent / ".git").exists():  # installed somewhere inside a checkout of something else
        return "unknown (not run from a checkout)"
    try:
        out = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not run from a checkout)"
    return out.stdout.strip()
