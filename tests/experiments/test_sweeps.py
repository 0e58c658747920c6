"""The sweeps under experiments/compare and the files that they put their runs together from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from continual_df.cli import main
from continual_df.commands import run as run_command
from continual_df.commands.sweep_file import Cell, read_sweep
from continual_df.commands.sweep_recipe import resolved_settings
from continual_df.evaluation import results
from continual_df.forgeries.operators import operators
from tests.experiments import made_up_data

FOLDER = Path(__file__).parents[2] / "experiments" / "compare"
SWEEPS = [path.stem for path in sorted(FOLDER.glob("*.yaml")) if "streams" in yaml.safe_load(path.read_text())]
SHARED = FOLDER / "methods.yaml"

REAL_FACES = {"celeba": ["stargan"], "ffhq": ["stylegan2", "sd21", "sdxl", "flux1"], "dfdc": ["dfdc_faceswap"]}
FORGED = {"orl": list(operators())}

SMALL = """
trainer: {max_epochs: 1, limit_train_batches: 1}
model: {init_args: {detector: {init_args: {backbone: test_resnet, pretrained: false, weights: null}}}}
data: {init_args: {image_size: 32}}
"""
"""Detector and size, one epoch of one batch; nothing else is overridden."""


def cells_of(name: str) -> list[Cell]:
    """Return the runs of a sweep that differ in more than their seed."""
    return list({cell.configs: cell for cell in read_sweep(FOLDER / f"{name}.yaml").cells}.values())


def resolved(name: str) -> set[Path]:
    """Return the files of which the runs of a sweep are made."""
    return {file.resolve() for cell in cells_of(name) for file in cell.configs}


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data sets, made up; results are evaluated as little as can be."""
    root = tmp_path_factory.mktemp("sweeps")
    made_up_data.table(root / "REAL_FACES_ROOT", "frames.csv", REAL_FACES)
    for name in ("five", "ten"):
        made_up_data.table(root / "runs" / "procedural" / name, "table.parquet", FORGED)
    evaluate = results.evaluate_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_FACES_ROOT", str(root / "REAL_FACES_ROOT"))
        patch.chdir(root)
        patch.setattr(run_command, "draw_figures", lambda *_: ([], []))
        patch.setattr(results, "method_sets", lambda _: {})
        patch.setattr(results, "evaluate_run", lambda run, _: evaluate(run, num_draws=2))
        yield root


@pytest.mark.parametrize("name", [name for name in SWEEPS if name != "dev"])  # all of whose methods are trained below
def test_every_method_and_stream_of_a_sweep_resolves_and_nothing_that_it_sets_is_lost(name: str, cwd: Path) -> None:
    seen: set[str] = set()
    for cell in cells_of(name):
        if {cell.stream, cell.method} <= seen:  # stream and method are set by files of their own
            continue
        seen |= {cell.stream, cell.method}
        settings = resolved_settings(cell, {})
        model = settings["model"]["init_args"]
        assert settings["name"] == cell.method
        assert (model["lr_scheduler"] is None) == (name != "procedural"), cell.name
        if "memory" in model:
            assert (model["memory"]["init_args"]["capacity"], model["replay_per_batch"]) == (50, 16), cell.name
            assert model["memory"]["init_args"]["seed"] == cell.seed, cell.name
        assert Path(settings["run_dir"]).parts[:3] == ("runs", "compare", name)


def test_reported_streams_are_not_those_of_tuning() -> None:
    assert {cell.stream for cell in cells_of("real_faces")} == {"date", "reversed"}
    assert {cell.stream for cell in cells_of("dev")} == {"dev"}


@pytest.mark.parametrize("method", yaml.safe_load(SHARED.read_text()))
def test_each_method_trains(method: str, cwd: Path) -> None:
    (cwd / "small.yaml").write_text(SMALL)
    (cell,) = (cell for cell in cells_of("dev") if cell.method == method)
    assert main(["run", *cell.settings, "--config", "small.yaml"]) == 0


@pytest.mark.parametrize("name", SWEEPS)
def test_each_stream_trains(name: str, cwd: Path) -> None:
    (cwd / "small.yaml").write_text(SMALL)
    for cell in {cell.stream: cell for cell in reversed(cells_of(name)) if cell.method == "finetune"}.values():
        if not cell.folder.exists():
            assert main(["run", *cell.settings, "--config", "small.yaml"]) == 0
        stream = json.loads((cell.folder / "stream.json").read_text())
        assert (cell.folder / "tasks" / str(len(stream["tasks"]))).is_dir()


@pytest.mark.parametrize("name", SWEEPS)
def test_every_environment_variable_is_explained_in_the_comment_of_the_sweep(name: str) -> None:
    named = {variable for file in resolved(name) for variable in re.findall(r"oc\.env:(\w+)", file.read_text())}
    comment = (FOLDER / f"{name}.yaml").read_text().partition("\nname:")[0]
    assert named == set(re.findall(r"\b[A-Z0-9_]+_ROOT\b", comment))


def test_every_file_is_part_of_a_sweep() -> None:
    parts = {SHARED, *(FOLDER / f"{name}.yaml" for name in SWEEPS)}.union(*map(resolved, SWEEPS))
    assert set(FOLDER.rglob("*.yaml")) - parts == set()
