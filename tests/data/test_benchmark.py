from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset
from torchvision.transforms import v2

from continual_df.cli import main
from continual_df.data.benchmark import read_benchmark
from continual_df.data.datamodule import BenchmarkStream
from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.errors import StreamError
from tests.toy import TinyDetector, ToyData

SPLITS = ("train", "val", "test", "unlabelled")


@pytest.fixture(scope="module")
def avalanche() -> ModuleType:
    """The package, whose import takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it imports
        for name in ("benchmarks", "training.supervised"):
            importlib.import_module(f"avalanche.{name}")

    return sys.modules["avalanche"]


@pytest.fixture
def unlabelled_stream(toy_stream: Stream) -> Stream:
    return build_stream(toy_stream.table, [TaskSpec(["columns"]), TaskSpec(["smooth"], unlabelled=["rows"])])


# Ours in Avalanche


def test_streams_hold_the_right_samples_methods_and_task_labels(
    avalanche: ModuleType, unlabelled_stream: Stream
) -> None:
    benchmark = ToyData(unlabelled_stream).benchmark()
    assert set(benchmark.streams) == set(SPLITS)
    for split in SPLITS:
        stream = getattr(benchmark, f"{split}_stream")
        assert len(stream) == 2
        for task, experience in enumerate(stream):
            rows = unlabelled_stream.rows(task, split)
            items = [experience.dataset[i] for i in range(len(experience.dataset))]
            expected = torch.stack([rows.label, rows.sample, rows.method, torch.full_like(rows.label, task)], dim=1)
            assert [item[1:] for item in items] == expected.tolist()
            for item in items[:2]:
                path = unlabelled_stream.table.frame.loc[item[2], "path"]
                pixels = np.asarray(Image.open(unlabelled_stream.table.root / path).convert("RGB"))
                np.testing.assert_allclose(item[0].permute(1, 2, 0), pixels / np.float32(255), atol=1e-6)
    first, second = benchmark.unlabelled_stream
    assert len(first.dataset) == 0
    assert set(second.dataset.targets) == {-1}


def test_without_unlabelled_methods_there_is_no_such_stream(avalanche: ModuleType, toy_data: ToyData) -> None:
    assert set(toy_data.benchmark().streams) == {"train", "val", "test"}


def test_images_come_at_the_size_of_the_datamodule(avalanche: ModuleType, toy_data: ToyData) -> None:
    toy_data.image_size = 5
    assert toy_data.benchmark().test_stream[0].dataset[0][0].shape == (3, 5, 5)


def test_a_strategy_of_avalanche_trains_and_evaluates_on_our_stream_as_it_is(
    avalanche: ModuleType, unlabelled_stream: Stream
) -> None:
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.detector, self.head = TinyDetector(), nn.Linear(8, 2)

        def forward(self, image: Tensor) -> Tensor:
            logit: Tensor = self.head(self.detector(image).pooled_BD)
            return logit

    torch.manual_seed(0)
    model = Classifier()
    benchmark = ToyData(unlabelled_stream).benchmark()
    strategy = avalanche.training.supervised.Naive(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=6e-2),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=16,
        train_epochs=8,
        eval_mb_size=64,
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[]),
    )
    seen = []
    for experience in benchmark.train_stream:
        strategy.train(experience)
        metrics = strategy.eval(benchmark.test_stream)
        accuracy = [value for name, value in sorted(metrics.items()) if name.startswith("Top1_Acc_Exp/")]
        assert len(accuracy) == 2, metrics
        seen.append(accuracy[experience.current_experience])
    assert min(seen) > 0.75, seen


# Avalanche in ours


def made_up(num: int = 12, num_classes: int = 4, seed: int = 0) -> TensorDataset:
    """Grey 8x8 floats whose brightness is their class."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.arange(num * num_classes) % num_classes
    image = 0.1 * torch.rand(len(target), 1, 8, 8, generator=generator) + target.view(-1, 1, 1, 1) / num_classes
    dataset = TensorDataset(image, target)
    dataset.targets = target.tolist()  # type: ignore[attr-defined]  # where Avalanche looks for them
    return dataset


def new_classes() -> Any:
    from avalanche.benchmarks import nc_benchmark

    return nc_benchmark(
        made_up(), made_up(6, seed=1), n_experiences=2, task_labels=False, fixed_class_order=[2, 0, 3, 1], shuffle=True
    )


def new_instances() -> Any:
    from avalanche.benchmarks import ni_benchmark

    return ni_benchmark(made_up(num_classes=2), made_up(6, num_classes=2, seed=1), n_experiences=3, seed=1)


def stream_from(make: Callable[[], Any], **options: Any) -> Stream:
    return BenchmarkStream(make, **options).stream


def test_new_classes_become_methods_and_target_0_is_real(avalanche: ModuleType) -> None:
    stream = stream_from(new_classes)
    frame = stream.table.frame
    assert [task.methods for task in stream.tasks] == [("class_2",), ("class_1", "class_3")]
    assert [task.class_ids for task in stream.tasks] == [
        {"real": 0, "class_2": 2},
        {"real": 0, "class_2": 2, "class_1": 1, "class_3": 3},
    ]
    test = stream.rows(0, "test")
    assert sorted(test.method.tolist()) == [0] * 6 + [2] * 6
    assert (test.label == (test.method > 0)).all()
    assert set(stream.rows(1, "test").label.tolist()) == {1}  # no target 0 here
    assert frame["path"].is_unique
    assert len(stream.membership) == len(frame) == 48 + 24


def test_pixels_belong_to_their_rows(avalanche: ModuleType) -> None:
    data = BenchmarkStream(new_classes)
    for task in (0, 1):
        for split in ("train", "val", "test"):
            rows = data.stream.rows(task, split)
            for sample, method in zip(rows.sample.tolist(), rows.method.tolist(), strict=True):
                assert 4 * data.images(sample).min() - 0.5 < method < 4 * data.images(sample).max() + 0.1


@pytest.mark.parametrize("val_fraction", [0.0, 0.25, 0.5])
def test_validation_is_a_share_of_train_in_every_task(avalanche: ModuleType, val_fraction: float) -> None:
    stream = stream_from(new_instances, val_fraction=val_fraction)
    for task in stream.tasks:
        assert stream.rows(task.index, "val").num == val_fraction * 8
        assert stream.rows(task.index, "train").num == (1 - val_fraction) * 8
    other = stream_from(new_instances, val_fraction=0.25, seed=1)
    assert val_fraction != 0.25 or not other.membership.equals(stream.membership)


@pytest.mark.parametrize("val_fraction", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(val_fraction: float) -> None:
    with pytest.raises(ValueError, match="val_fraction must be at least 0 and below 1"):
        BenchmarkStream(new_classes, val_fraction)


def test_our_own_benchmark_comes_back_with_its_val_stream(avalanche: ModuleType, toy_data: ToyData) -> None:
    stream, images = read_benchmark(toy_data.benchmark(), val_fraction=0.5, seed=0)
    counts = {split: stream.rows(1, split).num for split in ("train", "val", "test")}
    assert counts == {split: toy_data.stream.rows(1, split).num for split in counts}
    ours, theirs = (int(part.rows(1, "val").sample[3]) for part in (toy_data.stream, stream))
    assert torch.equal(images(theirs), toy_data.images(ours).float() / 255)


def test_random_training_transforms_of_a_benchmark_are_left_out(avalanche: ModuleType) -> None:
    def noisy() -> Any:
        dataset = made_up(num_classes=2)
        transform = v2.RandomErasing(p=1.0)
        return avalanche.benchmarks.nc_benchmark(dataset, dataset, 1, False, train_transform=transform)

    data = BenchmarkStream(noisy)
    sample = int(data.stream.rows(0, "train").sample[0])
    assert torch.equal(data.images(sample), data.images(sample))
    assert data.images(sample).min() > 0


def test_one_test_experience_is_the_test_set_of_every_task(avalanche: ModuleType) -> None:
    stream = stream_from(new_instances)
    tests = [stream.rows(task.index, "test") for task in stream.tasks]
    assert [rows.num for rows in tests] == [12, 12, 12]
    assert all(torch.equal(rows.sample, tests[0].sample) for rows in tests)
    assert len(stream.test_samples()) == 12


def test_pil_images_come_as_uint8_tensors(avalanche: ModuleType) -> None:
    class Squares(Dataset[tuple[Any, int]]):
        def __init__(self) -> None:
            self.targets = [0, 1] * 4

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return Image.new("RGB", (4, 3), (index, 50, 100)), self.targets[index]

    data = BenchmarkStream(lambda: avalanche.benchmarks.nc_benchmark(Squares(), Squares(), 1, False, shuffle=False))
    images = [data.images(sample) for sample in data.stream.rows(0, "test").sample.tolist()]
    assert {(image.dtype, image.shape) for image in images} == {(torch.uint8, (3, 3, 4))}
    assert sorted(image[:, 0, 0].tolist() for image in images) == [[index, 50, 100] for index in range(8)]


def test_streams_of_different_length_are_refused(avalanche: ModuleType) -> None:
    class Cut:
        train_stream = new_classes().train_stream
        test_stream = train_stream[:0]

    with pytest.raises(StreamError, match="differ in length"):
        read_benchmark(Cut(), 0.1, 0)


def tiny_mnist(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Return digits in place of those that Avalanche would download."""
    return made_up(8, num_classes=10), made_up(4, num_classes=10, seed=1)


def split_mnist() -> Any:
    from avalanche.benchmarks.classic import cmnist

    return cmnist.SplitMNIST(n_experiences=5, fixed_class_order=list(range(10)))


def test_a_classic_of_avalanche_runs_through_our_loop(
    avalanche: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from avalanche.benchmarks.classic import cmnist

    monkeypatch.setattr(cmnist, "get_mnist_dataset", tiny_mnist)
    config = {
        "run_dir": str(tmp_path / "run"),
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {
            "class_path": "Finetune",
            "init_args": {"detector": {"class_path": f"{__name__}.GreyDetector"}, "batch_size": 8},
        },
        "data": {
            "class_path": "BenchmarkStream",
            "init_args": {"benchmark": f"{__name__}.split_mnist", "val_fraction": 0.3},
        },
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", "-c", str(tmp_path / "c.yaml")]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "experience 5" in out
    assert out.count("task 'experience 2': its test set has no reals, so AUC, AP and EER are null") == 1
    auc = json.loads((tmp_path / "run/results.json").read_text())["matrices"]["auc"]
    assert None not in [row[0] for row in auc]
    assert {value for row in auc for value in row[1:]} == {None}  # no target 0 after the first experience
    logits = pd.read_parquet(tmp_path / "run/predictions/task_5.parquet")["logit_fake"]
    assert len(logits) >= 40
    assert logits.notna().all()


class GreyDetector(TinyDetector):
    """For one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(1, 8, 2, bias=False)
