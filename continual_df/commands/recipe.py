"""What a run was made from: the resolved configuration, headed by versions and the git commit."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from continual_df.commands.stream_cli import StreamCLI
from continual_df.errors import ConfigError

PACKAGES = ("continual-df", "torch", "torchvision", "pytorch-lightning", "timm", "avalanche-lib", "numpy", "pandas")


def recipe(cli: StreamCLI) -> str:
    """Return the content of ``config.yaml``, from which the run can be resumed.

    Raises:
        ConfigError: If a setting has a value that no YAML file can hold.
    """
    return "".join(f"# {line}\n" for line in _made_with()) + resolved(cli)


def resolved(cli: StreamCLI) -> str:
    """Return the settings as YAML, with every null.

    Raises:
        ConfigError: If a setting has a value that no YAML file can hold.
    """
    settings = str(cli.parser.dump(cli.config, skip_unset=False))
    lost = re.search(r"(\S+): (Unable to serialize instance .*)", settings)
    if lost:
        raise ConfigError(
            f"{lost[1]}: its value cannot be written to a YAML file ({lost[2]}), so the run could not be resumed. Set it to "
            "something that can."
        )
    return settings


def changes_since(config: Path) -> list[str]:
    """Return what of versions and git commit differs from those at the head of ``config``, a sentence each."""
    head = [line[2:].rstrip() for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("# ")]
    before = {part.rpartition(" ")[0]: part.rpartition(" ")[2] for line in head for part in line.split(", ")}
    now = {part.rpartition(" ")[0]: part.rpartition(" ")[2] for line in _made_with() for part in line.split(", ")}
    return [
        f"{name} was {before[name]}, is {now[name]}" for name in now if name in before and before[name] != now[name]
    ]


def _made_with() -> list[str]:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return [versions, f"python {sys.version.split()[0]}, git commit {_git_commit()}", f"working directory {Path.cwd()}"]


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
