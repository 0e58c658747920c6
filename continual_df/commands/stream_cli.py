"""The settings of a run: Lightning's command line over a method and a stream, and ours beside it."""

from __future__ import annotations

import copy
import difflib
import itertools
import re
from pathlib import Path
from typing import Any, Literal, NoReturn

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.callbacks import ModelCheckpoint, StochasticWeightAveraging
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from continual_df import methods
from continual_df.callbacks.step_checkpoint import CheckpointSchedule
from continual_df.checkpoint_file import VerifiedCheckpointIO
from continual_df.commands.config_errors import check_configs, explain, first_alternative, locate
from continual_df.commands.lost_settings import refuse_lost
from continual_df.data import readers
from continual_df.data.datamodule import BenchmarkStream, ForgeryStream, StreamDataModule
from continual_df.errors import ConfigError
from continual_df.memory import ReplayMemory
from continual_df.methods import Method
from continual_df.metrics_log import MetricsLog
from continual_df.models.detector import TimmDetector
from continual_df.run_folder import RunFolder
from continual_df.search.space import Search

CLASSES = (
    *readers.__all__,
    *(cls.__name__ for cls in (BenchmarkStream, ForgeryStream, ReplayMemory, TimmDetector)),
    *(name for name in methods.__all__ if name not in ("Method", "Prediction")),
)
"""Classes whose bare name may stand as a class_path in a YAML file: they are imported here."""


SHARDED = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)


class RunParser(LightningArgumentParser):
    """Lightning's parser, whose errors are one sentence instead of the usage text."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Refuse a wrong setting.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(explain(message, self, CLASSES)) from ex


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
        parser.add_argument(
            "--name",
            type=str | None,
            default=None,
            help="name of the method in figures and tables (default: its class)",
        )
        parser.add_argument("--max_flops", type=float | None, default=None, help="training FLOPs of each task at most")
        parser.add_argument(
            "--max_flops_total", type=float | None, default=None, help="training FLOPs of all tasks together at most"
        )
        parser.add_argument(
            "--resume", type=str | None, default=None, help="run folder to continue, in place of a config"
        )
        parser.add_class_arguments(CheckpointSchedule, "checkpoint")
        parser.add_class_arguments(Search, "search")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def instantiate_classes(self) -> None:
        """Instantiate everything but the Trainer."""
        self.config_init = self.parser.instantiate(self.config)
        for name in self.config_init["search"].space:
            if not name.startswith("model.") or name not in self.config:
                known = [key for key, _ in self.config.items() if key.startswith("model.")]
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean '{near[0]}'?" if near else "."
                raise ConfigError(f"search.space: the method has no setting '{name}'{hint}")
        self.model, self.datamodule = self.config_init["model"], self.config_init["data"]

    def build_method(self, values: dict[str, Any]) -> Method:
        """Return the method newly made, with ``values`` in place of its settings.

        Raises:
            ConfigError: If it refuses one.
        """
        config = copy.deepcopy(self.config)
        for name, value in values.items():
            config[name] = value
        try:
            method: Method = self.parser.instantiate(config)["model"]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"search.space: the method refuses {values}: {first_alternative(str(error))}") from error
        return method

    @property
    def callbacks(self) -> list[pl.Callback]:
        """The callbacks of the YAML."""
        given = self.config_init["trainer"]["callbacks"] or []
        return [given] if isinstance(given, pl.Callback) else list(given)

    @property
    def slurm(self) -> SLURMEnvironment | None:
        """The SLURM environment: the YAML's plugin, or what Lightning would detect; None outside of one."""
        given = [plugin for plugin in self._plugins if isinstance(plugin, SLURMEnvironment)]
        return given[0] if given else SLURMEnvironment() if SLURMEnvironment.detect() else None

    @property
    def _plugins(self) -> list[Any]:
        plugins = self.config_init["trainer"]["plugins"] or []
        return [*plugins] if isinstance(plugins, list) else [plugins]

    def make_trainer(
        self, number: int, folder: RunFolder, log: MetricsLog, first: pl.Callback, last: list[pl.Callback]
    ) -> pl.Trainer:
        """Return a fresh Trainer for task ``number``, whose callbacks are ``first``, those of the YAML and ``last``.

        The YAML's are copied from their pristine state (a reused EarlyStopping keeps the last task's best), but those that
        say ``across_tasks = True``. ModelCheckpoints without a folder write into the run folder.
        """
        callbacks = [cb if getattr(cb, "across_tasks", False) else copy.deepcopy(cb) for cb in self.callbacks]
        for callback in callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(folder.epochs(number))
        log.task = number
        extra = self.config_init["trainer"]["logger"]
        loggers = extra if isinstance(extra, list) else [] if extra in (None, True, False) else [extra]
        return self._trainer(folder, [first, *callbacks, *last], [log, *loggers])

    def make_trial(self, folder: RunFolder, first: pl.Callback, last: pl.Callback) -> pl.Trainer:
        """Return a fresh Trainer for a trial of a search: it logs nothing, and writes no checkpoint.

        All callbacks of the YAML are copied, those that say ``across_tasks = True`` too: a trial leaves no trace in them.
        """
        callbacks = [copy.deepcopy(cb) for cb in self.callbacks if not isinstance(cb, ModelCheckpoint)]
        return self._trainer(folder, [first, *callbacks, last], False)

    def _trainer(
        self, folder: RunFolder, callbacks: list[pl.Callback], loggers: list[Any] | Literal[False]
    ) -> pl.Trainer:
        settings = dict(self.config_init["trainer"])
        for name in ("strategy", "profiler"):  # objects of the YAML; a second Trainer refuses a used one
            settings[name] = copy.deepcopy(settings[name])
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            raise ConfigError(
                "trainer.callbacks: StochasticWeightAveraging keeps state that no checkpoint holds, so a run with it cannot be "
                "resumed. Use EMAWeightAveraging, or WeightAveraging (Lightning 2.6)."
            )
        if settings["enable_checkpointing"] is None or loggers is False:
            settings["enable_checkpointing"] = any(isinstance(cb, ModelCheckpoint) for cb in callbacks)
        settings |= {"callbacks": callbacks, "logger": loggers}
        if any(isinstance(plugin, CheckpointIO) for plugin in self._plugins):
            raise ConfigError("trainer.plugins: a run folder keeps its checkpoints by itself; remove the CheckpointIO.")
        settings["plugins"] = [*copy.deepcopy(self._plugins), VerifiedCheckpointIO()]
        settings["default_root_dir"] = settings["default_root_dir"] or str(folder.path)
        try:
            trainer = pl.Trainer(**settings)
        except ValueError as error:
            raise ConfigError(f"trainer: {error}") from error
        if isinstance(trainer.strategy, SHARDED):
            raise ConfigError(
                f"trainer.strategy: {type(trainer.strategy).__name__} cuts the weights into shards, which several fits of one "
                "method and checkpoints that any number of processes can read do not go with. Use ddp."
            )
        return trainer


def parse_settings(argv: list[str], build: type[StreamCLI] = StreamCLI) -> StreamCLI:
    """Return the settings, or refuse them with the file and line of what is wrong."""
    check_configs(argv)
    try:
        cli = build(argv)
    except OmegaConfBaseException as error:
        variable = re.search(r"Environment variable '([^']+)'", str(error))
        place = re.search(r"full_key: (\S+)", str(error))
        what = f"the environment variable {variable[1]} is not set" if variable else str(error).partition("\n")[0]
        raise ConfigError(f"{place[1] if place else 'configuration'}: {what}.") from error
    except (ValueError, MisconfigurationException) as error:
        raise ConfigError(first_alternative(str(error))) from error
    except ConfigError as error:
        raise ConfigError(locate(str(error), _config_files(argv))) from error
    refuse_lost(_config_files(argv)[::-1], _classes_given(argv), cli.config)
    return cli


def _classes_given(argv: list[str]) -> dict[str, str]:
    """Return the classes that ``argv`` names for method and data, beside those of its files."""
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--") else [word])]
    flags = {"--model": "model", "--model.class_path": "model", "--data": "data", "--data.class_path": "data"}
    return {flags[word]: value for word, value in itertools.pairwise(words) if word in flags}


def _config_files(argv: list[str]) -> list[Path]:
    """Return the YAML files that ``argv`` names, the last one first, as it wins."""
    names = [
        word.partition("=")[2] or following
        for word, following in zip(argv, [*argv[1:], ""], strict=True)
        if word.partition("=")[0] in ("-c", "--config")
    ]
    return [Path(name) for name in reversed(names) if Path(name).is_file()]


def find_packaged(argv: list[str]) -> list[str]:
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
