"""What ``continual-df run --resume RUN`` stands for: the run's own configuration, and nothing that changes its numbers."""

from __future__ import annotations

from pathlib import Path

from continual_df.data.frame_table import read_table
from continual_df.data.stream import Stream
from continual_df.data.table_changes import describe_changes
from continual_df.errors import ConfigError, RunFolderError
from continual_df.run_folder import RunFolder

MAY_CHANGE = (
    "checkpoint.",
    "data.init_args.cache_images",
    "data.init_args.changed_files",
    "data.init_args.num_workers",
    "data.num_workers",
    "model.init_args.detector.init_args.channels_last",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.strategy",
)
"""Settings, or beginnings of their names, that a resumed run may be given anew."""


def resume_arguments(argv: list[str]) -> list[str]:
    """Return ``argv`` with ``--resume RUN`` replaced by the configuration and the folder of RUN; without it, ``argv``.

    Raises:
        ConfigError: If another setting stands beside it that could change the results.
        RunFolderError: If RUN holds no run.
    """
    words = [part for word in argv for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if "--resume" not in words:
        return argv
    place = words.index("--resume")
    if place + 1 == len(words) or words[place + 1].startswith("--"):
        raise ConfigError("--resume needs the run folder to continue: --resume runs/NAME.")
    folder, rest = Path(words[place + 1]), words[:place] + words[place + 2 :]
    refuse_other_settings(folder, rest, "--resume")
    RunFolder(folder).refuse_missing()
    return ["--config", str(folder / "config.yaml"), "--run_dir", str(folder), "--resume", str(folder), *rest]


def refuse_other_settings(folder: Path, rest: list[str], beside: str) -> None:
    """Refuse settings that could change the results of the run in ``folder``.

    Args:
        folder: The run.
        rest: Arguments of the command line.
        beside: What they stand beside, for the message.

    Raises:
        ConfigError: Naming the setting.
    """
    for word in rest:
        name = word.partition("=")[0]
        if (word.startswith("--") or word == "-c") and not name.removeprefix("--").startswith(MAY_CHANGE):
            raise ConfigError(
                f"{name} cannot stand beside {beside}: the run is what {folder / 'config.yaml'} says. What may change "
                f"is {', '.join(setting.rstrip('.') for setting in MAY_CHANGE)}."
            )


def refuse_other_stream(folder: RunFolder, stream: Stream, what: str = "resumed") -> None:
    """Refuse other data than the run in ``folder`` was begun with.

    Args:
        folder: The run.
        stream: The data as it is now.
        what: What cannot be done to the run then, for the message.

    Raises:
        RunFolderError: Saying what differs.
    """
    if not (folder.path / "stream.json").is_file():  # killed before the stream was written, the last file of it
        return
    changes = describe_changes(read_table(folder.path / "frames.parquet"), stream.table)
    if not changes and folder.read_json("stream.json")["hash"] != stream.describe()["hash"]:
        changes = "the images of its tasks differ, though the table does not"
    if changes:
        raise RunFolderError(
            f"'{folder.path}' cannot be {what}, its data is not what it was: {changes}. Restore it, or start a new run."
        )
