from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from continual_df.cli import main
from continual_df.data.frame_table import FrameTable, write_table
from continual_df.evaluation.embedding_files import read_embedding
from continual_df.evaluation.pair_curves import read_pair_curves
from continual_df.evaluation.semi_supervised_k_means import estimate_num_clusters


def make_run(folder: Path, table: FrameTable, tasks: list[dict[str, Any]], epochs: int) -> Path:
    """A run of CPL on ``tasks`` of the toy table."""
    write_table(table, folder / "t.parquet")
    adam = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.03}}
    detector = {"class_path": "tests.toy.TinyDetector"}
    config = {
        "seed_everything": 0,
        "trainer": {"max_epochs": epochs, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "class_path": "CPL",
            "init_args": {
                "detector": detector,
                "novel": 2,
                "patches": 2,
                "dropout": 0.0,
                "batch_size": 12,
                "optimizer": adam,
            },
        },
        "data": {
            "class_path": "ForgeryStream",
            "init_args": {
                "tables": [{"class_path": "TableFile", "init_args": {"path": str(folder / "t.parquet")}}],
                "tasks": tasks,
            },
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "--config", str(folder / "config.yaml"), "--run_dir", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def run(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which one of three methods never has a label, trained long enough to tell them apart."""
    tasks = [{"methods": ["columns", "smooth"], "unlabelled": ["rows"]}]
    return make_run(tmp_path_factory.mktemp("cluster"), toy_table, tasks, 12)


def clusters(run: Path, *arguments: str) -> dict[str, Any]:
    assert main(["cluster", str(run), *arguments]) == 0
    found: dict[str, Any] = json.loads((run / "clusters.json").read_text())
    return found


def test_features_that_tell_methods_apart_give_one_cluster_for_each(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = clusters(run)
    assert (found["task"], found["num_classes"]) == (1, 4)
    assert found["classes"]["num_clusters"] == found["estimate"]["num_clusters"] == 4
    assert found["classes"]["scores"]["known_acc"] > 0.8
    assert found["classes"]["scores"]["novel_acc_v2"] > 0.8
    section = json.loads((run / "results.json").read_text())["open_world"]["rows"][-1]
    assert found["num_images"] == section["num_images"]
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split()[:2] for line in lines if line.startswith("estimated")] == [["estimated", "4"]]


def test_the_number_is_searched_between_the_known_classes_and_the_largest(run: Path) -> None:
    found = clusters(run, "--largest", "6")
    tried = [int(num) for num in found["accuracies"]]
    assert tried[0] == 3
    assert max(tried) <= 6
    best = max(found["accuracies"].values())
    assert found["accuracies"][str(found["estimate"]["num_clusters"])] == best


def test_images_that_were_named_since_are_clustered_once_with_their_label(
    toy_table: FrameTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, toy_table, [{"methods": ["columns"], "unlabelled": ["rows"]}, {"methods": ["rows"]}], 1)
    seen: list[Any] = []

    def estimate(feature_ND: Any, class_N: Any, largest: int) -> Any:
        seen.append(np.bincount(class_N + 1, minlength=4))
        return estimate_num_clusters(feature_ND, class_N, largest)

    monkeypatch.setattr("continual_df.commands.cluster.estimate_num_clusters", estimate)
    clusters(run, "--task", "1")
    clusters(run)
    before, after = seen
    assert before[0] == after[3] > 0  # without a label, then of the third class
    assert (after[0], before[3]) == (0, 0)
    assert before.sum() == after.sum()


def test_the_same_run_is_clustered_the_same_way_twice(run: Path) -> None:
    assert clusters(run) == clusters(run)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--largest", "3"], "--largest is 3: it must be above 3, the number of known classes"),
        (["--task", "2"], "has finished tasks 1 to 1"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "clusters.json").read_bytes() if (run / "clusters.json").exists() else None
    assert main(["cluster", str(run), *arguments]) == 2
    assert message in capsys.readouterr().err
    after = (run / "clusters.json").read_bytes() if (run / "clusters.json").exists() else None
    assert after == before


def test_the_run_has_logged_in_each_epoch_what_its_votes_are_worth(run: Path) -> None:
    curves = read_pair_curves(run)
    assert curves.index.tolist() == [(1, epoch) for epoch in range(12)]
    assert curves["rate"].between(0, 1).all()
    assert curves["precision_novel"].iloc[-1] > 0.8  # at the end, the novel method looks like itself alone


def test_features_of_unnamed_images_are_embedded_and_drawn_by_class_and_cluster(
    toy_table: FrameTable, tmp_path: Path
) -> None:
    run = make_run(tmp_path, toy_table, [{"methods": ["columns"], "unlabelled": ["rows", "smooth"]}], 1)
    assert main(["embed", str(run), "--max_rows", "5"]) == 0
    rows = read_embedding(run / "embedding", 1).rows
    unnamed = rows[rows["task"] == -1]
    assert set(unnamed["split"]) == {"test"}
    drawn = unnamed.groupby("method")["drawn"].sum().to_dict()
    assert drawn == {"real": 5, "rows": 5, "smooth": 5}  # reals are those that the others are told from
    assert main(["plot", str(run), "--no-images", "--out", str(tmp_path / "figures")]) == 0
    figures = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"cluster_map.png", "cluster_map.svg", "latent_space.png"} <= figures
