"""What gets installed: the wheel holds the tree, and the command works from any folder, quickly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from continual_df import __version__
from continual_df.cli import COMMANDS
from continual_df.commands import run
from continual_df.errors import ContinualDFError

ROOT = Path(__file__).parent.parent
SHIPPED = ("pyproject.toml", "README.md", "LICENSE", "continual_df", "callbacks", "experiments")
HEAVY = {"torch", "pandas", "pytorch_lightning", "matplotlib", "cv2", "avalanche", "numpy", "faiss", "timm"}
DATA_SUFFIXES = {".py", ".typed", ".yaml", ".yml", ".csv", ".json"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what a build reads, links kept, so that nothing is built in the working tree."""
    copy = tmp_path_factory.mktemp("build") / "checkout"
    copy.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def distributions(checkout: Path) -> Path:
    """Build the sdist, and the wheel from that sdist, as an upload would."""
    out = checkout.parent / "dist"
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(checkout)]
    # In the working tree a folder build/ would hide the module of that name.
    ran = subprocess.run(command, check=False, cwd=checkout.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return out


@pytest.fixture(scope="module")
def installed(distributions: Path) -> Path:
    """Install the wheel alone into a folder that comes before the working tree on the path."""
    target = distributions.parent / "site"
    (wheel,) = distributions.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True)
    return target


def _tree(checkout: Path) -> set[str]:
    """Return the package's files by their name in the wheel; rglob does not enter links by itself."""
    package = checkout / "continual_df"
    found: list[Path] = [file for top in package.iterdir() for file in ([top] if top.is_file() else top.rglob("*"))]
    return {file.relative_to(checkout).as_posix() for file in found if file.is_file() and file.suffix in DATA_SUFFIXES}


def _cli(arguments: list[str], folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed entry point in ``folder``."""
    environment = os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [sys.executable, str(site / "bin" / "continual-df"), *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True)


def test_wheel_holds_exactly_the_tree(checkout: Path, distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert packaged == _tree(checkout)
    assert {"continual_df/py.typed", "continual_df/callbacks/compute_ledger.py"} <= packaged
    assert any(name.startswith("continual_df/experiments/") for name in packaged)
    assert f"continual_df-{__version__}.dist-info/licenses/LICENSE" in names


def test_sdist_holds_the_tree_the_licence_and_the_readme(checkout: Path, distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert _tree(checkout) <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_installed_package_is_found_before_the_working_tree(installed: Path, tmp_path: Path) -> None:
    program = "import continual_df.callbacks as module; print(module.__file__)"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(ran.stdout.strip()).is_relative_to(installed)


def test_help_names_every_command_from_another_folder(installed: Path, tmp_path: Path) -> None:
    ran = _cli(["--help"], tmp_path, installed)
    assert ran.returncode == 0
    assert all(f"  {name} " in ran.stdout for name in COMMANDS)
    assert list(tmp_path.iterdir()) == []


def test_version_is_that_of_the_metadata(installed: Path, tmp_path: Path) -> None:
    ran = _cli(["--version"], tmp_path, installed)
    assert (ran.returncode, ran.stdout.strip()) == (0, __version__)
    assert (installed / f"continual_df-{__version__}.dist-info").is_dir()


def test_unknown_command_gets_one_line_and_status_2(installed: Path, tmp_path: Path) -> None:
    ran = _cli(["trian"], tmp_path, installed)
    assert (ran.returncode, ran.stdout) == (2, "")
    (line,) = ran.stderr.splitlines()
    assert "trian" in line
    assert all(name in line for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom continual_df.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted({HEAVY!r} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "HEAVY []"


def test_packaged_experiment_is_found_from_another_folder(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = min((installed / "continual_df").glob("experiments/**/*.yaml"))
    name = experiment.relative_to(installed / "continual_df").as_posix()
    for variable in re.findall(r"oc\.env:(\w+)", experiment.read_text(encoding="utf-8")):
        monkeypatch.setenv(variable, str(tmp_path))
    ran = _cli(["run", "--config", name, "--seed_everything", "7", "--print_config"], tmp_path, installed)
    assert ran.returncode == 0, ran.stderr
    resolved = yaml.safe_load(ran.stdout)
    assert resolved["seed_everything"] == 7
    assert resolved["run_dir"] == yaml.safe_load(experiment.read_text(encoding="utf-8"))["run_dir"]


def test_users_own_file_wins_over_the_packaged_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = next((ROOT / "experiments").rglob("*.yaml")).relative_to(ROOT)
    (tmp_path / experiment).parent.mkdir(parents=True)
    (tmp_path / experiment).write_text("no_such_key: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ContinualDFError, match="no_such_key"):
        run.main(["--config", experiment.as_posix()])
