"""Avalanche in and out: our stream as an Avalanche benchmark, any Avalanche benchmark as our stream.

The one file that imports avalanche, inside the functions, since the import takes seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from continual_df.data.dataset import DrawDataset, RowDataset
from continual_df.data.frame_table import FrameTable
from continual_df.data.images import ImageSource
from continual_df.data.stream import HELD_OUT, Stream
from continual_df.errors import StreamError
from continual_df.labels import FAKE, REAL, REAL_METHOD
from continual_df.randomness import priority
from continual_df.task import Rows, Task

if TYPE_CHECKING:
    from avalanche.benchmarks import CLScenario


def to_benchmark(stream: Stream, images: ImageSource, image_size: int | None = None) -> CLScenario:
    """Return ``stream`` as an Avalanche benchmark on which any Avalanche strategy trains as it is.

    Its streams are ``train``, ``val``, ``test`` and, where a task has unlabelled images, ``unlabelled``. An item is
    ``(image, label, sample, method, task label)``: image (C, H, W) float32 in [0, 1], label 0 real, 1 fake, -1 unknown.
    """
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import DataAttribute, TaskAwareSupervisedClassificationDataset

    def dataset(rows: Rows) -> Any:  # noqa: ANN401
        columns = [
            DataAttribute(rows.label.tolist(), "targets"),
            DataAttribute(rows.sample.tolist(), "sample", use_in_getitem=True),
            DataAttribute(rows.method.tolist(), "method", use_in_getitem=True),
            DataAttribute(rows.task.tolist(), "targets_task_labels", use_in_getitem=True),
        ]
        pairs = _Pairs(RowDataset(DrawDataset(images, image_size), rows))
        return TaskAwareSupervisedClassificationDataset([pairs], data_attributes=columns)

    splits = ["train", "val", "test"]
    if (stream.membership["split"] == "unlabelled").any():
        splits.append("unlabelled")
    return benchmark_from_datasets(
        **{split: [dataset(stream.rows(task.index, split)) for task in stream.tasks] for split in splits}
    )


def read_benchmark(benchmark: Any, val_fraction: float, seed: int) -> tuple[Stream, ImageSource]:  # noqa: ANN401
    """Return any Avalanche benchmark of images as a stream, with its pixels.

    Target 0 is real and target c is the method ``class_c``; experience k is task k. Items pass through the benchmark's
    evaluation transforms: the ones for training draw from generators that nobody seeds by address.

    Args:
        benchmark: Has ``train_stream`` and ``test_stream``, optionally ``val_stream``, of equal length; a ``test`` or
            ``val`` stream of one experience belongs to every task.
        val_fraction: Share of the training samples that becomes validation without a ``val_stream``.
        seed: Decides which samples those are.

    Raises:
        StreamError: If the streams differ in length or an experience has no data.
    """
    streams = {"train": list(benchmark.train_stream), "test": list(benchmark.test_stream)}
    if hasattr(benchmark, "val_stream"):
        streams["val"] = list(benchmark.val_stream)
    num_tasks = len(streams["train"])
    lengths = {name: len(experiences) for name, experiences in streams.items()}
    if not num_tasks or not all(lengths[name] in (1, num_tasks) for name in streams):
        raise StreamError(f"The benchmark's streams differ in length ({lengths}): each task needs train and test data.")
    datasets, parts = [], []
    for split, experiences in streams.items():
        for index, experience in enumerate(experiences):
            targets = np.asarray([int(target) for target in experience.dataset.targets])
            if not len(targets):
                raise StreamError(f"Experience {index} of the benchmark's {split} stream holds no data.")
            datasets.append(experience.dataset.eval())
            names = [f"{split}/{index}/{row}" for row in range(len(targets))]
            task = HELD_OUT if lengths[split] < num_tasks else index
            parts.append(pd.DataFrame({"path": names, "target": targets, "task": task, "split": split}))
    frame = pd.concat(parts, ignore_index=True)
    frame["label"] = np.where(frame["target"] == 0, REAL, FAKE)
    frame["method"] = [REAL_METHOD if target == 0 else f"class_{target}" for target in frame["target"]]
    frame["source"], frame["group"] = "avalanche", frame["path"]
    if "val" not in streams:
        train = frame[frame["split"] == "train"]
        rank = train.assign(key=priority(seed, train.index)).groupby("task")["key"].rank(method="first")
        val = rank <= (val_fraction * train.groupby("task")["target"].transform("size")).round()
        frame.loc[train.index[val], "split"] = "val"
    class_ids = {REAL_METHOD: REAL}
    tasks = []
    for index in range(num_tasks):
        targets = np.unique(frame.loc[(frame["task"] == index) & (frame["split"] == "train"), "target"])
        class_ids |= {f"class_{target}": int(target) for target in targets if target}
        methods = tuple(f"class_{target}" for target in targets if target)
        tasks.append(Task(index, f"experience {index + 1}", methods, (), dict(class_ids), index))
    member = frame.rename_axis("sample").reset_index()[["sample", "task", "split"]]
    shared = member[member["task"] == HELD_OUT]
    everywhere = [shared.assign(task=index) for index in range(num_tasks)]
    membership = pd.concat([member[member["task"] != HELD_OUT], *everywhere], ignore_index=True)
    table = FrameTable(frame[["path", "label", "method", "source", "group", "split"]], Path())
    return Stream(table, tasks, membership), _BenchmarkImages(datasets)


class _Pairs(Dataset[tuple[Tensor, int]]):
    """Items as the (image, label) pairs that Avalanche wraps."""

    def __init__(self, rows: RowDataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        item = self.rows[index]
        return item["image"], item["label"]


class _BenchmarkImages:
    """Pixels of a benchmark's data sets, one after the other."""

    def __init__(self, datasets: list[Any]) -> None:
        self.datasets = datasets
        self.ends = np.cumsum([len(dataset) for dataset in datasets])

    def __call__(self, sample: int) -> Tensor:
        number = int(np.searchsorted(self.ends, sample, side="right"))
        start = int(self.ends[number - 1]) if number else 0
        image = self.datasets[number][sample - start][0]
        if isinstance(image, Tensor):
            return image
        return torch.from_numpy(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy())
