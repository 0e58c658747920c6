"""The sweeps under experiments/nevis: all resolve, and each learner trains on the first tasks of its stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from continual_df.cli import main
from continual_df.commands.sweep_file import Cell, read_sweep
from continual_df.commands.sweep_recipe import resolved_settings
from continual_df.forgeries.operators import operators
from tests.experiments import made_up_data

FOLDER = Path(__file__).parents[2] / "experiments" / "nevis"
SWEEPS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
CELLS = {
    f"{name}-{cell.method}": cell
    for name in SWEEPS
    for cell in read_sweep(FOLDER / f"{name}.yaml").cells
    if cell.seed == 0
}

SMALL = """
trainer: {max_epochs: 1, limit_train_batches: 1}
model: {init_args: {detector: {init_args: {backbone: test_resnet}}}}
search: {trials: 1}
data: {init_args: {image_size: 32, tasks: [{methods: [stargan]}, {methods: [stylegan2]}]}}
"""
FIRST = {"ten": ["self_blended", "decoder_transposed"], "date": ["stargan", "stylegan2"]}


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data sets, made up."""
    root = tmp_path_factory.mktemp("nevis")
    faces = {"celeba": ["stargan"], "ffhq": ["stylegan2", "sd21", "sdxl", "flux1"], "dfdc": ["dfdc_faceswap"]}
    made_up_data.table(root / "REAL_FACES_ROOT", "frames.csv", faces)
    made_up_data.table(root / "runs" / "procedural" / "ten", "table.parquet", {"orl": list(operators())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_FACES_ROOT", str(root / "REAL_FACES_ROOT"))
        patch.chdir(root)
        yield root


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_each_learner_trains(cell: Cell, cwd: Path) -> None:
    small = yaml.safe_load(SMALL)
    small["data"]["init_args"]["tasks"] = [{"methods": [name]} for name in FIRST[cell.stream]]
    init = resolved_settings(cell, {})["model"]["init_args"]
    if init["initial"] == "pretrained":  # no weights for so small a detector
        small["model"]["init_args"]["initial"] = "scratch"
    if "search.yaml" not in {file.name for file in cell.configs}:
        del small["search"]
    if init["detector"]["init_args"]["weights"]:
        small["model"]["init_args"]["detector"]["init_args"] |= {"weights": None, "pretrain_flops": None}
    (cwd / "small.yaml").write_text(yaml.safe_dump(small))
    assert main(["run", *cell.settings, "--config", "small.yaml"]) == 0
    costs = json.loads((cell.folder / "compute.json").read_text())["tasks"]
    assert "search" in costs[-1]["phases"] if "procedural" in str(cell.folder) else "train" in costs[-1]["phases"]
    assert (cell.folder / "tasks" / "2" / "source.json").is_file()


def test_every_file_is_part_of_a_sweep() -> None:
    used = {file.resolve() for cell in CELLS.values() for file in cell.configs}
    assert set((FOLDER / "methods").glob("*.yaml")) <= used
