from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image

from continual_df.cli import main
from continual_df.commands import embed, figures
from continual_df.data.frame_table import FrameTable, read_table, write_table
from continual_df.evaluation.embedding_files import Embedding, read_embedding
from continual_df.memory import ReplayMemory
from continual_df.memory.diversity import memory_report
from continual_df.methods import SURLID
from continual_df.run_folder import RunFolder
from continual_df.task import Rows, Task
from tests.toy import TinyDetector


@pytest.fixture(scope="module")
def table(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    few = toy_table.frame[toy_table.frame["group"].str.fullmatch(r"train[0-7]|val[0-3]|test[0-3]")]
    write_table(FrameTable(few.reset_index(drop=True), toy_table.root), path)
    return path


def train(table: Path, folder: Path, model: dict[str, Any]) -> Path:
    """Train on two tasks in ``folder`` and return the run."""
    detector = {"class_path": "tests.toy.TinyDetector"}
    optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}}
    model["init_args"] |= {"detector": detector, "optimizer": optimizer, "batch_size": 8}
    config = {
        "seed_everything": 3,
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": model,
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(table)}}],
                "tasks": [{"methods": ["columns"]}, {"methods": ["smooth"]}],
            },
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a method that grows; its embedding holds 3 rows a domain, and all that is remembered."""
    memory = {"class_path": "ReplayMemory", "init_args": {"capacity": 5, "per_task": True}}
    model = {"class_path": "continual_df.methods.SURLID", "init_args": {"memory": memory}}
    folder = train(table, tmp_path_factory.mktemp("sur_lid"), model)
    assert main(["embed", str(folder), "--max_rows", "3"]) == 0
    return folder


@pytest.fixture
def embeddings(run: Path) -> list[Embedding]:
    return [read_embedding(run / "embedding", number) for number in (1, 2)]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one sentence with which the command is refused."""
    capsys.readouterr()
    assert main(["embed", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
    assert len(lines) == 1, lines
    return lines[0]


def test_features_and_directions_are_those_of_the_checkpoint_after_each_task(
    run: Path, table: Path, embeddings: list[Embedding]
) -> None:
    images = read_table(table)
    for embedding in embeddings:
        method = SURLID(memory=ReplayMemory(5), detector=TinyDetector())
        tasks = [Task(index, name, (name,), real_domain=index) for index, name in enumerate(("columns", "smooth"))]
        method.restore(tasks[: embedding.number], RunFolder(run).load_task(embedding.number)["state_dict"])
        paths = images.frame["path"][embedding.rows["sample"]]
        read = [np.asarray(Image.open(images.root / path).convert("RGB")) for path in paths]
        image = torch.from_numpy(np.stack(read)).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            expected = method.eval()(image).features
        assert embedding.feature_ND == pytest.approx(expected.numpy(), abs=1e-5)
        assert embedding.direction_HD == pytest.approx(method.decision_directions().numpy())
        assert embedding.direction_HD.shape == (embedding.number, TinyDetector.num_features)
    assert not np.allclose(embeddings[0].feature_ND[:12], embeddings[1].feature_ND[:12])  # the same rows, another model


def test_each_domain_is_cut_to_the_same_rows_after_every_task(embeddings: list[Embedding]) -> None:
    counts = [
        embedding.rows[embedding.rows["drawn"]].groupby(["split", "task", "label"]).size() for embedding in embeddings
    ]
    assert counts[0].to_dict() == {("test", t, label): 3 for t in (0, 1) for label in (0, 1)} | {
        ("train", 0, label): 3 for label in (0, 1)
    }
    assert counts[1].to_dict() == {
        (split, t, label): 3 for split in ("test", "train") for t in (0, 1) for label in (0, 1)
    }
    one, two = (
        set(embedding.rows.query("drawn")[["sample", "task"]].itertuples(index=False)) for embedding in embeddings
    )
    assert one < two


def test_rows_are_what_the_frame_table_says(embeddings: list[Embedding], table: Path) -> None:
    for embedding in embeddings:
        frame = read_table(table).frame.loc[embedding.rows["sample"]]
        for column in ("label", "method", "split"):
            assert embedding.rows[column].tolist() == frame[column].tolist()


def test_everything_remembered_is_there_and_marked(run: Path, embeddings: list[Embedding]) -> None:
    for embedding in embeddings:
        memory = pd.read_parquet(run / "tasks" / str(embedding.number) / "memory.parquet")
        marked = embedding.rows[embedding.rows["in_memory"]]
        expected = sorted(zip(memory["sample"], memory["task"], strict=True))
        assert sorted(zip(marked["sample"], marked["task"], strict=True)) == expected
        assert len(expected) == 5 * embedding.number
        assert set(marked["split"]) == {"train"}
    assert not embeddings[1].rows.query("in_memory")["drawn"].all()


def test_memory_report_is_on_all_training_rows_of_the_task_that_ended(run: Path, tmp_path: Path) -> None:
    assert main(["embed", str(run), "--out", str(tmp_path / "all"), "--max_rows", "1000"]) == 0
    parts = []
    for number in (1, 2):
        embedding = read_embedding(tmp_path / "all", number)
        own = embedding.rows.query(f"split == 'train' and task == {number - 1}")
        assert len(own) == 16
        unknown = torch.full((16,), -1)
        label, task = (torch.tensor(own[name].to_numpy()) for name in ("label", "task"))
        rows = Rows(torch.tensor(own["sample"].to_numpy()), label, unknown, task)
        features = torch.from_numpy(embedding.feature_ND[own.index])
        parts.append(memory_report(features, rows, torch.tensor(own["in_memory"].to_numpy())))
    expected = pd.concat(parts, ignore_index=True)
    for folder in (tmp_path / "all", run / "embedding"):
        pd.testing.assert_frame_equal(pd.read_csv(folder / "memory.csv"), expected, check_exact=False, rtol=1e-4)


def test_it_says_what_it_wrote_and_how_well_memory_stands_for_the_data(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["embed", str(run), "--out", str(tmp_path / "new"), "--split", "val"]) == 0
    out = capsys.readouterr().out
    assert "task 1/2 columns: " in out
    assert "2 smooth, fake" in out
    assert "Vendi" in out
    assert f"written to {tmp_path / 'new'}" in out
    assert set(read_embedding(tmp_path / "new", 1).rows["split"]) == {"val", "train"}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the figures that are made; saving all of them is what takes time."""
    names: list[str] = []

    def note(figure: Figure, folder: Path, stem: str) -> list[Path]:
        names.append(stem)
        return []

    monkeypatch.setattr(figures, "save_figure", note)
    return names


def test_plot_draws_the_embedding_of_a_run(run: Path, tmp_path: Path) -> None:
    assert main(["plot", str(run), "--no-images", "--out", str(tmp_path)]) == 0
    files = {path.name for path in tmp_path.iterdir()}
    assert {f"{stem}.{end}" for stem in ("latent_space", "memory_map") for end in ("png", "svg")} <= files


def test_plot_does_not_draw_the_embedding_of_fewer_tasks(
    run: Path, tmp_path: Path, drawn: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "copied")
    (tmp_path / "copied" / "embedding" / "task_2.npz").unlink()
    capsys.readouterr()
    assert main(["plot", str(tmp_path / "copied"), "--no-images"]) == 0
    assert (
        "they were written after tasks [1], and it has finished 2. Run 'continual-df embed" in capsys.readouterr().out
    )
    assert not {"latent_space", "memory_map"} & set(drawn)


def test_two_embedded_runs_have_figures_of_their_own(run: Path, tmp_path: Path, drawn: list[str]) -> None:
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / "sweep" / name)
    assert main(["plot", str(tmp_path / "sweep"), "--no-images"]) == 0
    assert {"latent_space_one", "latent_space_two", "memory_map_one", "memory_map_two"} <= set(drawn)


def test_method_without_memory_has_a_latent_space_and_no_memory_map(
    table: Path, tmp_path: Path, drawn: list[str]
) -> None:
    run = train(table, tmp_path, {"class_path": "Finetune", "init_args": {}})
    assert main(["embed", str(run)]) == 0
    assert not (run / "embedding" / "memory.csv").exists()
    assert main(["plot", str(run), "--no-images"]) == 0
    assert "latent_space" in drawn
    assert "memory_map" not in drawn


def test_what_an_earlier_call_left_is_gone(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("task_9.npz", "heads_9.npz", "mine.txt"):
        (out / name).touch()
    assert main(["embed", str(run), "--out", str(out)]) == 0
    names = {"task_1.npz", "task_2.npz", "heads_1.npz", "heads_2.npz", "memory.csv", "mine.txt"}
    assert {path.name for path in out.iterdir()} == names


def test_run_without_a_finished_task_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"'{tmp_path}' cannot be embedded: it holds no config.yaml" in refused(capsys, str(tmp_path))
    shutil.copytree(run, tmp_path / "begun", ignore=shutil.ignore_patterns("tasks"))
    assert "with a finished task in tasks/" in refused(capsys, str(tmp_path / "begun"))


def test_other_data_is_refused(run: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = read_table(table)
    copied, other = tmp_path / "run", tmp_path / "other.parquet"
    gone = frame.frame.index[frame.frame["method"] == "smooth"][0]
    path = frame.frame["path"][gone]
    write_table(FrameTable(frame.frame.drop(index=gone).reset_index(drop=True), frame.root), other)
    shutil.copytree(run, copied)
    config = (copied / "config.yaml").read_text()
    (copied / "config.yaml").write_text(config.replace(str(table), str(other)))
    said = refused(capsys, str(copied))
    assert (
        f"'{copied}' cannot be embedded, its data is not what it was: 1 image is missing now (the first: '{path}')"
        in said
    )


def test_damaged_checkpoint_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "tasks" / "2" / "checkpoint.ckpt"
    path.write_bytes(path.read_bytes()[:-200])
    assert "checkpoint.ckpt' does not end in a checksum" in refused(capsys, str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--max_rows", "1"], "--max_rows is 1: it must be at least 2"),
        (["--trainer.precision=bf16-mixed"], "--trainer.precision cannot stand beside embed: the run is what"),
        (["--max_row", "9"], "--max_row cannot stand beside embed"),
    ],
)
def test_wrong_settings_are_refused(
    run: Path, flags: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refused(capsys, str(run), *flags)


def test_split_without_images_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = SimpleNamespace(membership=pd.DataFrame({"split": ["train", "test"]}))  # such as a benchmark without one
    monkeypatch.setattr(embed, "open_models", lambda *_: SimpleNamespace(stream=stream))
    assert f"--split val: the stream of '{run}' has no images in it" in refused(capsys, str(run), "--split", "val")
