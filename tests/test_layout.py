"""The same numbers for any number of workers and processes (gloo on the CPU).

All runs of one number of processes share one start: their processes are forked from this one, which has everything
imported, and go through the command line as those of a launcher would.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
import torch.distributed
import yaml
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

import continual_df.commands.run as command
from continual_df.cli import main
from continual_df.data.frame_table import FrameTable, write_table
from continual_df.methods import Replay
from continual_df.task import Batch, Extract, Rows, Task
from tests.toy import METHOD_CLASSES, method_arguments

DEADLINE = 900
"""Seconds after which processes that wait for each other are ended."""


class Probe(Replay):
    """Remembers the rows of least feature norm, and writes what each process was given to choose from."""

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        given = {}
        for num in (1, 2, 5, rows.num):
            some = rows.pick(torch.randperm(rows.num, generator=torch.Generator().manual_seed(num))[:num])
            given[num] = {"sample": some.sample, **extract(some, ("features", "fake_logit"))}
        torch.save(given, Path(self.trainer.default_root_dir).with_suffix(f".given{self.global_rank}.{task.number}.pt"))
        norm = extract(rows, ("features",))["features"].norm(dim=1)
        self.memory.rows = Rows.concat([self.memory.rows, rows.pick(norm.argsort()[:8])])


class Recorder(pl.Callback):
    """Writes what each process has been given in each step, and its memory and state whenever it predicts."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, _: int) -> None:
        self._write(trainer, "steps", {name: batch[name].tolist() for name in ("sample", "task", "role", "weight")})

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        state = sum(
            value.double().abs().sum().item() for value in pl_module.state_dict().values() if isinstance(value, Tensor)
        )
        memory = getattr(pl_module, "memory", None)
        rows = [] if memory is None else [column.tolist() for column in memory.rows]
        self._write(trainer, "memory", {"rows": rows, "state": state})

    def _write(self, trainer: pl.Trainer, what: str, content: dict[str, Any]) -> None:
        path = Path(trainer.default_root_dir).with_suffix(f".{what}{trainer.global_rank}.jsonl")
        with path.open("a") as file:
            file.write(json.dumps(content) + "\n")


class Case(NamedTuple):
    """One run: what is trained, in which layout."""

    method: str
    detector: str = "test_vit"  # layer norm; test_efficientnet_gn turns rounding into 0.01 within these few steps
    processes: int = 1
    workers: int = 0
    trainer: tuple[tuple[str, Any], ...] = ()
    batch_size: int = 7

    @property
    def name(self) -> str:
        """Name of its folder."""
        parts = [self.method.rpartition(".")[2], self.detector, str(self.processes), str(self.workers)]
        return "-".join([*parts, *(name for name, _ in self.trainer)])

    @property
    def reference(self) -> Case:
        """The same run in one process without workers."""
        return self._replace(processes=1, workers=0)

    def config(self, table: Path) -> dict[str, Any]:
        """Return the content of its configuration file; whatever memory the method takes is a small one."""
        module, _, name = self.method.rpartition(".")
        size = {"img_size": 16} if "vit" in self.detector else {}
        timm = {"class_path": "TimmDetector", "init_args": {"backbone": self.detector, **size}}
        return {
            "trainer": {
                "max_epochs": 2,
                "accelerator": "cpu",
                "devices": self.processes,
                "strategy": "ddp" if self.processes > 1 else "auto",
                "enable_progress_bar": False,
                "callbacks": [{"class_path": f"{__name__}.Recorder"}],
                **dict(self.trainer),
            },
            "model": {
                "class_path": self.method,
                "init_args": {
                    "detector": {"class_path": "tests.toy.TinyDetector"} if self.detector == "tiny" else timm,
                    "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.02}},
                    "batch_size": self.batch_size,
                    **method_arguments("Replay" if module else name),
                },
            },
            "data": {
                "class_path": "ForgeryStream",
                "init_args": {
                    "tables": [{"class_path": "TableFile", "init_args": {"path": str(table)}}],
                    "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
                    "eval_batch_size": 4,
                    "num_workers": self.workers,
                },
            },
        }


LAYOUTS = [(1, 1), (1, 4), (2, 0), (2, 1), (2, 4)]
"""(processes, workers), each to be compared with (1, 0)."""


KINDS = (
    "Replay",
    "Finetune",
    "Joint",
    "DERpp",
    "ICaRL",
    "DFIL",
    "SURLID",
    "Brick",
    "HDP",
    "CPL",
    "OpenWorldStream",
    "Transfer",
    "SPrompts",
)
"""Methods that are compared by default, one of each kind; the others are by ``make test-slow``."""


def is_slow(case: Case) -> bool:
    """Return whether a case waits for ``slow``: `KINDS` in two processes without workers never do, nor does Replay in one."""
    layout = (case.processes, case.workers)
    by_default = layout == (2, 0) or (case.method == "Replay" and case.processes == 1)
    return case.method not in KINDS or not by_default


OWN_SHARE = {
    "CDDBReplay": "rounding comes to 1.04e-6 in one logit",
    "CPL": "several processes have the rows of a batch in another order, so that other random pairs are drawn",
    "CoReD": "its bank holds sums over a task's rows, which float32 does not round to 1e-6",
    "HDP": "each process perturbs reals from among its own rows",
    "OpenWorldStream": "as CPL",
    "OnlineEWC": "some Fisher values are above 10, which float32 does not round to 1e-6",
    "SURLID": "each process draws what it re-fills",
    "SimGCD": "its gradients are hundreds of times those of others here, and rounding by the order of rows comes to 2e-4 in a step",
}
"""Methods of which several processes do not give all numbers of one to 1e-6, and why; order and memory are equal for them too."""

COMPARED = [
    Case(name, "test_vit" if name == "Replay" else "tiny", processes, workers)
    for name in METHOD_CLASSES
    for processes, workers in LAYOUTS
]

GATHERED = Case(f"{__name__}.Probe", processes=2)
ACCUMULATED = Case("Finetune", "tiny", processes=2, trainer=(("accumulate_grad_batches", 2),))
BATCH_NORM = Case("Replay", "test_resnet", processes=2, batch_size=8)  # of one row there are no statistics


def process(rank: int, processes: int, folder: Path, cases: list[Case]) -> None:
    """Run ``cases`` one after another as the process ``rank``, from what a launcher gives it."""
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0", "WORLD_SIZE": str(processes)}
    vars(rank_zero_only)["rank"] = rank  # where the command looks before Lightning has started
    torch.set_num_threads(1)
    vars(command)["draw_figures"] = lambda *_: ([], [])  # they take longer than the rest
    if processes > 1:
        store = f"file://{folder / f'store{processes}'}"
        torch.distributed.init_process_group("gloo", store, rank=rank, world_size=processes)
    for case in cases:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert main(["run", "--config", str(folder / f"{case.name}.yaml"), f"--run_dir={folder / case.name}"]) == 0
        (folder / f"{case.name}.out{rank}").write_text(out.getvalue())
    if processes > 1:
        torch.distributed.destroy_process_group()


def run_all(folder: Path, table: Path, cases: Iterable[Case]) -> None:
    """Run ``cases``, those of one and of two processes beside each other."""
    started = []
    for processes in (1, 2):
        mine = [case for case in cases if case.processes == processes]
        for case in mine:
            (folder / f"{case.name}.yaml").write_text(yaml.safe_dump(case.config(table)))
        arguments = (processes, folder, mine)
        started.append(start_processes(process, arguments, processes, join=False, start_method="fork"))  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + DEADLINE
    try:
        while not all(context.join(timeout=1) for context in started):
            assert time.monotonic() < deadline, "the processes wait for each other"
    finally:
        for context in started:
            for child in context.processes:
                child.kill()


class Runs(NamedTuple):
    """Run folders by case, and what stands beside them."""

    folder: Path

    def path(self, case: Case) -> Path:
        """Return the run folder."""
        return self.folder / case.name

    def written(self, case: Case, what: str) -> list[list[Any]]:
        """Return what `Recorder` wrote, by rank."""
        files = [self.folder / f"{case.name}.{what}{rank}.jsonl" for rank in range(case.processes)]
        return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]

    def order(self, case: Case) -> list[list[tuple[int, int, int]]]:
        """Return (sample, task, role) of every row of each step's batch, over all processes."""
        order = []
        for shares in zip(*self.written(case, "steps"), strict=True):
            places = [
                list(zip(*(share[name] for name in ("sample", "task", "role", "weight")), strict=True))
                for share in shares
            ]
            batch = [place for turn in zip_longest(*places) for place in turn if place is not None and place[3] > 0]
            order.append([place[:3] for place in batch])
        return order

    def weights(self, case: Case, task: int) -> dict[str, Tensor]:
        """Return the weights after a task."""
        checkpoint = torch.load(self.path(case) / f"tasks/{task}/checkpoint.ckpt", weights_only=True)
        return {name: value for name, value in checkpoint["state_dict"].items() if isinstance(value, Tensor)}


@pytest.fixture(scope="module")
def table(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven groups to train on, so that a batch has a single row, and validation that two processes share unevenly."""
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train(\d|10)|val[0-2]|test[0-4]")]
    few = few[(few["group"] != "val0") | (few["method"] != "columns")]
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), path)
    return path


@pytest.fixture(scope="module")
def runs(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("layouts")
    cases = [*(case for case in COMPARED if not is_slow(case)), GATHERED, ACCUMULATED, BATCH_NORM]
    run_all(folder, table, dict.fromkeys([*(case.reference for case in cases), *cases]))
    return Runs(folder)


@pytest.fixture(scope="module")
def more_runs(runs: Runs, table: Path) -> Runs:
    cases = [case for case in COMPARED if is_slow(case)]
    wanted = dict.fromkeys([*(case.reference for case in cases), *cases])
    run_all(runs.folder, table, [case for case in wanted if not runs.path(case).exists()])
    return runs


@pytest.fixture(
    params=[pytest.param(case, id=case.name, marks=[pytest.mark.slow] * is_slow(case)) for case in COMPARED]
)
def case(request: pytest.FixtureRequest, runs: Runs) -> Case:
    """Each method in each layout but the reference, when it has run."""
    case: Case = request.param
    if not runs.path(case).exists():
        request.getfixturevalue("more_runs")
    return case


def test_steps_get_the_same_rows_in_the_same_order(runs: Runs, case: Case) -> None:
    assert runs.order(case) == runs.order(case.reference)
    assert any(len(batch) % 2 for batch in runs.order(case))  # shared unevenly


def test_every_process_remembers_the_same_rows(runs: Runs, case: Case) -> None:
    (expected,) = runs.written(case.reference, "memory")
    for found in runs.written(case, "memory"):
        assert [line["rows"] for line in found] == [line["rows"] for line in expected]


def expect_own_share(case: Case, request: pytest.FixtureRequest, strict: bool = True) -> None:
    """Expect the numbers of several processes to differ where a method is among `OWN_SHARE`."""
    if case.processes > 1 and case.method in OWN_SHARE:
        request.applymarker(pytest.mark.xfail(reason=OWN_SHARE[case.method], raises=AssertionError, strict=strict))


def test_predictions_and_weights_agree(runs: Runs, case: Case, request: pytest.FixtureRequest) -> None:
    expect_own_share(case, request)
    atol = 1e-6 if case.processes > 1 else 0.0
    for number in (0, 1, 2):
        first, second = (
            pd.read_parquet(runs.path(each) / f"predictions/task_{number}.parquet") for each in (case.reference, case)
        )
        assert first["sample"].tolist() == second["sample"].tolist()
        np.testing.assert_allclose(second["logit_fake"], first["logit_fake"], atol=atol, rtol=0)
    for number in (1, 2):
        expected = runs.weights(case.reference, number)
        found = runs.weights(case, number)
        torch.testing.assert_close(found, expected, atol=atol, rtol=0)


def test_metrics_agree(runs: Runs, case: Case, request: pytest.FixtureRequest) -> None:
    expect_own_share(case, request, strict=False)  # metrics of so few images may agree all the same
    expected, found = (pd.read_csv(runs.path(each) / "metrics.csv") for each in (case.reference, case))
    keys = ["task", "epoch", "step", "metric"]
    pd.testing.assert_frame_equal(found[keys], expected[keys])
    assert {"train/loss", "val/loss", "val/auc"} <= set(found["metric"])
    scores, costs = (found["metric"] != "compute/flops", found["metric"] == "compute/flops")
    np.testing.assert_allclose(found["value"][scores], expected["value"][scores], atol=1e-6, rtol=0)
    # two processes pay a little more: for rows without weight, and for what both compute
    assert (found["value"][costs] >= (1 - 1e-6) * expected["value"][costs]).all()
    assert (found["value"][costs] < 2 * expected["value"][costs]).all()
    expected, found = (json.loads((runs.path(each) / "results.json").read_text()) for each in (case.reference, case))
    for name, matrix in expected["matrices"].items():
        np.testing.assert_allclose(np.array(found["matrices"][name], float), np.array(matrix, float), atol=1e-6, rtol=0)


def test_gathered_features_stand_in_the_order_of_the_rows_in_every_process(runs: Runs) -> None:
    for task in (1, 2):
        expected = torch.load(runs.folder / f"{GATHERED.reference.name}.given0.{task}.pt", weights_only=True)
        for rank in (0, 1):
            found = torch.load(runs.folder / f"{GATHERED.name}.given{rank}.{task}.pt", weights_only=True)
            assert list(found) == list(expected)
            assert all(len(found[num]["features"]) == num for num in found)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_rule_that_looks_at_features_chooses_the_same_rows_in_every_process(runs: Runs) -> None:
    (expected,) = runs.written(GATHERED.reference, "memory")
    for found in runs.written(GATHERED, "memory"):
        assert [line["rows"] for line in found] == [line["rows"] for line in expected]


def test_accumulated_gradients_agree(runs: Runs) -> None:
    expected, found = (runs.weights(case, 2) for case in (ACCUMULATED.reference, ACCUMULATED))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    plain = runs.weights(ACCUMULATED.reference._replace(trainer=()), 2)
    assert not torch.allclose(found["head.weight"], plain["head.weight"], atol=1e-4)


def test_with_batch_norm_order_and_memory_agree(runs: Runs) -> None:
    assert runs.order(BATCH_NORM) == runs.order(BATCH_NORM.reference)
    (expected,) = runs.written(BATCH_NORM.reference, "memory")
    for found in runs.written(BATCH_NORM, "memory"):
        assert [line["rows"] for line in found] == [line["rows"] for line in expected]


@pytest.mark.parametrize("case", [GATHERED, BATCH_NORM], ids=lambda case: case.detector)
def test_every_process_predicts_with_the_same_weights_and_statistics(runs: Runs, case: Case) -> None:
    first, second = ([line["state"] for line in lines] for lines in runs.written(case, "memory"))
    assert first == second


def test_the_first_process_alone_talks(runs: Runs) -> None:
    first, second = ((runs.folder / f"{GATHERED.name}.out{rank}").read_text() for rank in (0, 1))
    assert first.count("task 2/2 smooth") == 1
    assert second == ""
