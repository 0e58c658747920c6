from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from continual_df.cli import main
from continual_df.commands import neighbours
from continual_df.commands.run_models import RunModels
from continual_df.data.frame_table import FrameTable, read_table, write_table
from continual_df.methods import Finetune, Method
from continual_df.methods.open_world_stream import FIRST_CLUSTER
from continual_df.models.prototypes import PrototypeBank
from continual_df.run_folder import RunFolder
from tests.toy import TinyDetector


@pytest.fixture(scope="module")
def table(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> FrameTable:
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train[0-7]|val[0-3]|test[0-3]")]
    return FrameTable(few.reset_index(drop=True), toy_table.root)


@pytest.fixture(scope="module")
def run(table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two tasks with shared reals; in the first, the method of the second is present without a label."""
    folder = tmp_path_factory.mktemp("neighbours")
    write_table(table, folder / "t.parquet")
    detector = {"class_path": "tests.toy.TinyDetector"}
    config = {
        "seed_everything": 3,
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {"class_path": "Finetune", "init_args": {"detector": detector, "batch_size": 8}},
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(folder / "t.parquet")}}],
                "tasks": [{"methods": ["columns"], "unlabelled": ["smooth"]}, {"methods": ["smooth"]}],
            },
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main(["neighbours", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one sentence with which the command is refused."""
    capsys.readouterr()
    assert main(["neighbours", *map(str, arguments)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
    assert len(lines) == 1, lines
    return lines[0]


def rows_of(out: str) -> list[list[str]]:
    """Return the rows of all tables, cell by cell: those that begin with a rank."""
    return [
        re.split(r" {1,}", line.strip(), maxsplit=3) for line in out.splitlines() if re.match(r" *\d+ +-?\d\.", line)
    ]


def feature(run: Path, number: int, path: Path) -> np.ndarray:
    method = Finetune(detector=TinyDetector())
    method.load_state_dict(RunFolder(run).load_task(number)["state_dict"])
    image = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return np.asarray(method.eval()(image).features[0].double())


def test_a_training_image_finds_itself_first(run: Path, table: FrameTable, capsys: pytest.CaptureFixture[str]) -> None:
    own = table.frame.query("method == 'columns' and split == 'train'")["path"].tolist()[:3]
    rows = rows_of(printed(capsys, *(table.root / path for path in own), "--run", run, "--k", "4"))
    assert [row[0] for row in rows] == ["1", "2", "3", "4"] * 3
    for path, (_, similarity, found, rest) in zip(own, rows[::4], strict=True):
        assert (float(similarity), found) == (1.0, path)
        assert rest.split() == ["columns", "toy", "1"]


@pytest.mark.parametrize(
    ("number", "tasks"), [(1, {"real": "1", "columns": "1", "smooth": "1"}), (2, {"real": "1, 2", "smooth": "1, 2"})]
)
def test_neighbours_are_those_of_brute_force_with_method_source_and_tasks(
    number: int, tasks: dict[str, str], run: Path, table: FrameTable, capsys: pytest.CaptureFixture[str]
) -> None:
    image = table.root / table.frame.query("split == 'test' and method == 'rows'")["path"].iloc[0]
    rows = rows_of(printed(capsys, image, "--run", run, "--k", "99", "--task", number))
    query, cosine = feature(run, number, image), {}
    for path in table.frame.query("split == 'train' and method != 'rows'")["path"]:
        other = feature(run, number, table.root / path)
        cosine[path] = query @ other / np.linalg.norm(query) / np.linalg.norm(other)
    assert len(rows) == len(cosine) == 24  # eight groups of reals, columns and smooth
    assert [float(row[1]) for row in rows] == pytest.approx(sorted(cosine.values(), reverse=True), abs=1e-4)
    assert {row[2]: float(row[1]) for row in rows} == pytest.approx(cosine, abs=1e-4)
    for _, _, path, rest in rows:
        method = path.split("/")[1]
        label = " (no label)" if (number, method) == (1, "smooth") else ""
        assert re.sub(" +", " ", rest) == f"{method}{label} toy {tasks.get(method, '1')}"


@pytest.fixture
def banked(monkeypatch: pytest.MonkeyPatch) -> PrototypeBank:
    """The bank that the run's method has from now on: one prototype of a known class, one of a cluster."""
    bank, restored = PrototypeBank(TinyDetector.num_features), RunModels.method
    bank.add(torch.eye(8)[:2] - 0.5, torch.tensor([1, FIRST_CLUSTER - 1]))

    def method(self: RunModels, number: int) -> Method:
        made = restored(self, number)
        made.bank = bank
        return made

    monkeypatch.setattr(RunModels, "method", method)
    return bank


def test_prototypes_are_shown_where_the_method_keeps_some(
    run: Path, table: FrameTable, banked: PrototypeBank, capsys: pytest.CaptureFixture[str]
) -> None:
    image = table.root / table.frame["path"][0]
    query = feature(run, 2, image)
    cosine = [query @ p / np.linalg.norm(query) for p in banked.vector_KD.double().numpy()]
    banked.calibration.calibrate(torch.tensor([cosine[0] - 0.1, cosine[0] + 0.1, 1.0, 1.0]))
    out = printed(capsys, image, "--run", run, "--k", "3")
    # three of four, and halfway to the fourth: 3.5 / 5
    assert "novelty to the known classes: 0.700, novel (at most 25% of known images are above 0.600)" in out
    rows = rows_of(out)[3:]
    order = np.argsort(cosine)[::-1].tolist()
    names = ("columns", "no name, head 4")  # after real and the classes of two tasks, the second novel head
    assert [(row[2], row[3]) for row in rows] == [(str(id), names[id]) for id in order]
    assert [float(row[1]) for row in rows] == pytest.approx([cosine[id] for id in order], abs=1e-4)


def test_a_bank_without_calibration_says_so(banked: PrototypeBank) -> None:
    assert neighbours._novelty(banked, torch.ones(1, 8), {"columns": 1}) == "not calibrated"


def test_images_are_resized_as_the_run_does_or_refused(
    run: Path, table: FrameTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (20, 16)).save(tmp_path / "wide.png")
    said = refused(capsys, table.root / table.frame["path"][0], tmp_path / "wide.png", "--run", run)
    assert f"'{tmp_path / 'wide.png'}' is 20x16, and the run's images are 16x16" in said
    shutil.copytree(run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["init_args"]["image_size"] = 16
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    assert len(rows_of(printed(capsys, tmp_path / "wide.png", "--run", tmp_path / "run"))) == 5


def test_unreadable_images_are_refused_before_the_run_is_opened(
    run: Path, table: FrameTable, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "open_models", None)
    image = table.root / table.frame["path"][0]
    (tmp_path / "text.png").write_text("no image")
    assert f"'{tmp_path / 'text.png'}' cannot be read as an image: it is no image of a known format" in refused(
        capsys, image, tmp_path / "text.png", "--run", run
    )
    assert f"'{tmp_path / 'gone.png'}' cannot be read as an image: No such file" in refused(
        capsys, tmp_path / "gone.png", "--run", run
    )


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--k", "0"], "--k is 0: it must be at least 1."),
        (["--task", "3"], "has finished tasks 1 to 2."),
        (["--task", "0"], "--task is 0: "),
        (["--trainer.precision=bf16-mixed"], "--trainer.precision cannot stand beside neighbours: the run is what"),
    ],
)
def test_wrong_settings_are_refused(
    run: Path, table: FrameTable, flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refused(capsys, table.root / table.frame["path"][0], "--run", run, *flags)


def test_what_is_no_finished_run_is_refused(
    run: Path, table: FrameTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = table.root / table.frame["path"][0]
    assert f"'{tmp_path}' cannot be searched: it holds no config.yaml" in refused(capsys, image, "--run", tmp_path)
    copied, other = tmp_path / "run", tmp_path / "other.parquet"
    shutil.copytree(run, copied)
    stored = read_table(run.parent / "t.parquet")
    write_table(FrameTable(stored.frame.iloc[:-1], stored.root), other)
    config = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(config.replace(str(run.parent / "t.parquet"), str(other)))
    assert f"'{copied}' cannot be searched, its data is not what it was" in refused(capsys, image, "--run", copied)


def test_run_on_an_avalanche_benchmark_is_refused(
    run: Path, table: FrameTable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SimpleNamespace(cli=SimpleNamespace(datamodule=object()))  # whatever is no ForgeryStream
    monkeypatch.setattr(neighbours, "open_models", lambda *_: opened)
    image = table.root / table.frame["path"][0]
    assert "through the transforms of an Avalanche benchmark" in refused(capsys, image, "--run", run)
