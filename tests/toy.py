"""A small made-up stream that a detector can learn in seconds; a pytest plugin of fixtures (see conftest.py)."""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn

from continual_df import methods
from continual_df.data.datamodule import StreamDataModule
from continual_df.data.frame_table import FrameTable
from continual_df.data.images import ImageSource, TableImages
from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.methods import Method
from continual_df.models.detector import Detector, Features

METHODS = ("columns", "smooth", "rows")
"""Adding stripes makes a fake, and so does taking texture away: what one task teaches, the next one contradicts."""

SPLITS = {"train": 24, "val": 8, "test": 16}


class TinyDetector(Detector):
    """Eight learned 2x2 filters and their log mean energy: enough for the traces, without batch statistics."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 8, 2, bias=False)

    def forward(self, image: Tensor) -> Features:
        energy = self.filters(image - image.mean(dim=(2, 3), keepdim=True)) ** 2
        return Features(energy, (energy.mean(dim=(2, 3)) + 1e-6).log() + 6)


class ToyData(StreamDataModule):
    """The datamodule of a stream that is built already."""

    def __init__(self, stream: Stream, seed: int = 0, num_workers: int = 0) -> None:
        super().__init__(augment=[], seed=seed, num_workers=num_workers)
        self._ready = stream

    def build(self) -> tuple[Stream, ImageSource]:
        return self._ready, TableImages(self._ready.table)


def forge(pixels: np.ndarray, method: str) -> np.ndarray:
    """Return the image (H, W, 3) with the trace of ``method``."""
    stripes = 16 * (np.arange(len(pixels)) % 2 - 0.5)
    mean = pixels.mean(axis=(0, 1))
    forged: dict[str, np.ndarray] = {
        "real": pixels,
        "columns": pixels + stripes[None, :, None],
        "rows": pixels + stripes[:, None, None],
        "smooth": mean + 0.6 * (pixels - mean),
    }
    return forged[method]


def write_toy_table(root: Path, methods: tuple[str, ...] = METHODS, size: int = 16) -> FrameTable:
    """Write grainy grey reals and, for each method, a forged copy of every real."""
    rng = np.random.default_rng(0)
    rows = []
    for split, count in SPLITS.items():
        for number in range(count):
            group = f"{split}{number}"
            base = 128 + 30 * rng.standard_normal() + 8 * rng.standard_normal((size, size, 3))
            for method in ("real", *methods):
                pixels = np.clip(forge(base, method), 0, 255)
                path = Path("images") / method / f"{group}.png"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(root / path)
                label = int(method != "real")
                rows.append([str(path), label, method, "toy", group, split])
    columns = ["path", "label", "method", "source", "group", "split"]
    return FrameTable(pd.DataFrame(rows, columns=columns), root)


@pytest.fixture(scope="session")
def toy_table(tmp_path_factory: pytest.TempPathFactory) -> FrameTable:
    return write_toy_table(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def toy_stream(toy_table: FrameTable) -> Stream:
    return build_stream(toy_table, [TaskSpec([method]) for method in METHODS])


@pytest.fixture
def toy_data(toy_stream: Stream) -> ToyData:
    return ToyData(toy_stream)


@pytest.fixture
def tiny_detector() -> TinyDetector:
    torch.manual_seed(0)
    return TinyDetector()


class NoisyDetector(TinyDetector):
    """The same with what a resumed run must bring back: dropout, batch statistics and a buffer that every step moves."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(8), nn.Dropout(0.2)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, image: Tensor) -> Features:
        features = super().forward(image)
        if self.training:
            self.steps += 1
        return Features(features.map_BDHW, self.dropout(self.norm(features.pooled_BD)))


class StepCounter(pl.Callback):
    """Logs how many steps all tasks have had."""

    across_tasks = True

    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.count += 1
        pl_module.log("count", float(self.count), on_step=True, on_epoch=False)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]


class SignalledDetector(NoisyDetector):
    """The same; in its third training step, its process gets a signal, by default the one to end."""

    def forward(self, image: Tensor) -> Features:
        features = super().forward(image)
        if self.training and self.steps == 3:
            signal.raise_signal(signal.Signals[os.environ.get("TOY_SIGNAL", "SIGTERM")])
        return features


class FaultyDetector(NoisyDetector):
    """The same; in a training step before which the file ``fault`` has been written, what it says goes wrong, once.

    Args:
        fault: The file: first line the step (from 1), second the fault, third its argument.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = Path(fault)

    def forward(self, image: Tensor) -> Features:
        features = super().forward(image)
        if not self.training or not self.fault.exists():
            return features
        step, what, argument = self.fault.read_text().split("\n")
        if int(step) != self.steps:
            return features
        self.fault.unlink()
        if what == "out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has less.")
        if what == "rename":
            Path(argument).rename(f"{argument}.away")
        if what == "kill workers":
            for worker in multiprocessing.active_children():
                worker.kill()
        if what == "nan":
            return Features(features.map_BDHW, features.pooled_BD * torch.nan)
        return features


METHOD_CLASSES: dict[str, type[Method]] = {
    name: cls
    for name in methods.__all__
    if isinstance(cls := getattr(methods, name), type) and issubclass(cls, Method) and cls is not Method
}
"""All methods by name: what holds for all of them is tested for each that joins."""


TINY_VIT: dict[str, Any] = {
    "backbone": "vit_tiny_patch16_224",
    "img_size": 16,
    "residual": True,
    "model_args": {"patch_size": 4, "depth": 2, "embed_dim": 32, "num_heads": 2},
}
"""Arguments of a TimmDetector with a ViT that can learn the toy stream."""

ON_VITS = ("DevFDLike", "SPrompts")
"""Methods that take no other detector."""


def method_arguments(name: str) -> dict[str, Any]:
    """Return what method ``name`` needs, as in a YAML file: a small memory where it takes one, the detector it needs."""
    needed: dict[str, Any] = {}
    if name in ON_VITS:
        needed["detector"] = {"class_path": "TimmDetector", "init_args": TINY_VIT}
    if any("memory" in inspect.signature(cls).parameters for cls in METHOD_CLASSES[name].__mro__):
        needed["memory"] = {"class_path": "ReplayMemory", "init_args": {"capacity": 8}}
    if issubclass(METHOD_CLASSES[name], methods.OpenWorld):
        needed |= {"novel": 2, "patches": 2, "dropout": 0.0, "two_views": False}
    if issubclass(METHOD_CLASSES[name], methods.CPL):
        needed["pool"] = 16  # state that lives within a task
    return needed
