"""The sweeps under experiments/compare and the files that they put their runs together from."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from continual_df.cli import main
from continual_df.commands.sweep_file import Cell, read_sweep
from continual_df.commands.sweep_recipe import resolved_settings
from continual_df.evaluation import results
from continual_df.forgeries.operators import operators
from continual_df.labels import UNKNOWN
from continual_df.methods import CPL, OpenWorld
from tests.experiments import made_up_data
from tests.made_up_tasks import make_batch, make_rows, make_tasks, train_step
from tests.toy import TinyDetector

FOLDER = Path(__file__).parents[2] / "experiments" / "compare"
SWEEPS = [path.stem for path in sorted(FOLDER.glob("*.yaml")) if "streams" in yaml.safe_load(path.read_text())]
TRAINED = ("dev", "open_world_procedural")
"""Sweeps all of whose methods are trained."""

SCHEDULED = {"procedural", "dev_procedural", "open_world_procedural"}
"""Sweeps whose learning rate follows a schedule."""

REAL_FACES = {"celeba": ["stargan"], "ffhq": ["stylegan2", "sd21", "sdxl", "flux1"], "dfdc": ["dfdc_faceswap"]}
FORGED = {"orl": list(operators())}

REPORTED = ("finetune", "joint", "er", "icarl_fc", "derpp", "hdp", "sur_lid", "brick")
"""Methods of 'dev' that train by default; the others, whose settings resolve by default, do in ``make test-slow``."""

CHEAPEST = ("finetune", "lower")
"""The method with which the streams of a sweep are trained."""

SMALL = """
trainer: {max_epochs: 1, limit_train_batches: 1}
model: {init_args: {detector: {init_args: {backbone: test_resnet, pretrained: false, weights: null, pretrain_flops: null, model_args: {output_stride: 16}}}}}
data: {init_args: {image_size: 32}}
"""
"""Detector and size, with a last map of 2 x 2 for places, one epoch of one batch; nothing else is overridden."""


def cells_of(name: str) -> list[Cell]:
    """Return the runs of a sweep that differ in more than their seed."""
    return list({cell.configs: cell for cell in read_sweep(FOLDER / f"{name}.yaml").cells}.values())


def resolved(name: str) -> set[Path]:
    """Return the files of which the runs of a sweep are made."""
    return {file.resolve() for cell in cells_of(name) for file in cell.configs}


def method_files(cell: Cell) -> tuple[str, ...]:
    """Return the names of the files that make the method of a run."""
    return tuple(file.name for file in cell.configs if file.parent.name in ("methods", "open_world"))


METHODS = {method_files(cell): (name, cell.method) for name in reversed(SWEEPS) for cell in cells_of(name)}
"""Sweep and name of each method, of the first sweep that has it: 'dev' is short, and has all of its list."""

VARIANTS = {
    method: files[1]
    for files, (_, method) in METHODS.items()
    if files[0] == "cpl.yaml"
    and len(files) == 2
    and files[1] not in ("two_views.yaml", "best_known.yaml", "k_unknown.yaml")
}
"""Methods that are CPL with one option of the model changed, and the file that does so."""


def check_settings(sweep: str, cell: Cell, settings: dict[str, Any]) -> None:
    """Check what all methods of a sweep share."""
    model = settings["model"]["init_args"]
    assert settings["name"] == cell.method
    assert (model["lr_scheduler"] is not None) == (sweep in SCHEDULED), cell.name
    if "memory" in model:
        replayed = None if cell.method == "sur_lid_domains" else 16
        assert (model["memory"]["init_args"]["capacity"], model["replay_per_batch"]) == (50, replayed), cell.name
        assert model["memory"]["init_args"]["seed"] == cell.seed, cell.name
    assert Path(settings["run_dir"]).parts[:3] == ("runs", "compare", sweep)


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the data sets, made up; results are evaluated as little as can be."""
    root = tmp_path_factory.mktemp("sweeps")
    made_up_data.table(root / "REAL_FACES_ROOT", "frames.csv", REAL_FACES)
    for name in ("five", "ten", "twelve", "twelve_swapped"):
        made_up_data.table(root / "runs" / "procedural" / name, "table.parquet", FORGED)
    evaluate = results.evaluate_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REAL_FACES_ROOT", str(root / "REAL_FACES_ROOT"))
        patch.chdir(root)
        patch.setattr(results, "method_sets", lambda _: {})
        patch.setattr(results, "evaluate_run", lambda run, _, rows: evaluate(run, 2, rows))
        yield root


@pytest.mark.parametrize(
    "name", [name for name in SWEEPS if name != "open_world_procedural"]
)  # trained below, all of it
def test_the_methods_and_streams_of_a_sweep_resolve_and_nothing_that_they_set_is_lost(name: str, cwd: Path) -> None:
    """Each stream, and each method in the first sweep that has it."""
    seen: set[str] = set()
    for cell in cells_of(name):
        if METHODS[method_files(cell)] == (name, cell.method) or cell.stream not in seen:
            check_settings(name, cell, resolved_settings(cell, {}))
            seen.add(cell.stream)


def test_reported_streams_are_not_those_of_tuning() -> None:
    assert {cell.stream for cell in cells_of("real_faces")} == {"date", "reversed"}
    assert {cell.stream for cell in cells_of("dev")} == {"dev"}


def test_every_method_of_a_list_is_trained_here() -> None:
    lists = (("methods.yaml", "methods_tuned.yaml"), ("open_world_methods.yaml",))
    for sweep, files in zip(TRAINED, lists, strict=True):
        listed = {method for file in files for method in yaml.safe_load((FOLDER / file).read_text())}
        assert listed == {cell.method for cell in cells_of(sweep)}
    assert {(sweep, cell.method) for sweep in TRAINED for cell in cells_of(sweep)} <= set(METHODS.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_of_cpl_has_one_other_option_and_trains(variant: str) -> None:
    change = yaml.safe_load((FOLDER / "open_world" / VARIANTS[variant]).read_text())
    ((option, value),) = change["model"].pop("init_args").items()
    assert change == {"model": {}}
    usual = {**inspect.signature(OpenWorld).parameters, **inspect.signature(CPL).parameters}[option].default
    assert value != usual
    method = CPL(detector=TinyDetector(), novel=2, **{option: value})
    (task,) = make_tasks(["a", "b"])
    rows = make_rows(task, 12)
    unlabelled = torch.arange(12) % 2 == 1
    rows.method[unlabelled] = rows.label[unlabelled] = UNKNOWN
    method.unlabelled = [rows.pick(unlabelled)]
    method.begin_task(task)
    method.batch_plan(task, [rows.pick(~unlabelled)])
    batch = make_batch(rows)
    terms = train_step(method, torch.optim.Adam(method.parameters()), batch)
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize(
    ("sweep", "method"),
    [
        pytest.param(*key, marks=[pytest.mark.slow] if key[0] == "dev" and key[1] not in REPORTED else [])
        for key in sorted(METHODS.values())
        if key[1] not in VARIANTS
    ],
)
def test_each_method_trains(sweep: str, method: str, cwd: Path) -> None:
    (cwd / "small.yaml").write_text(SMALL)
    cell = next(cell for cell in cells_of(sweep) if cell.method == method)
    assert main(["run", *cell.settings, "--config", "small.yaml"]) == 0
    check_settings(sweep, cell, yaml.safe_load((cell.folder / "config.yaml").read_text()))


@pytest.mark.parametrize("name", SWEEPS)
def test_each_stream_trains(name: str, cwd: Path) -> None:
    (cwd / "small.yaml").write_text(SMALL)
    for cell in {cell.stream: cell for cell in reversed(cells_of(name)) if cell.method in CHEAPEST}.values():
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
    sweeps = [FOLDER / f"{name}.yaml" for name in SWEEPS]
    lists = [yaml.safe_load(sweep.read_text())["methods"] for sweep in sweeps]
    named = {FOLDER / file for files in lists for file in ([files] if isinstance(files, str) else files)}
    assert set(FOLDER.rglob("*.yaml")) - named.union(sweeps, *map(resolved, SWEEPS)) == set()
