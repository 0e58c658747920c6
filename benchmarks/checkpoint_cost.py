"""What saving within a task adds to training, at the default schedule, as a ratio within one run.

    python benchmarks/checkpoint_cost.py [--detector tf_efficientnet_lite0] [--size 128] [--batch 32] [--steps 40]

Every fifth step begins with a checkpoint (weights, Adam's two moments, everything else that a resumed run needs; synced to
the disk and, the first time, read back). Printed are the time inside the callback's hooks of a step that saves nothing over
the time of a step, the time of a save, and their sum at one save in ten minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import timm
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from continual_df.callbacks.step_checkpoint import CheckpointSchedule, StepCheckpoint
from continual_df.checkpoint_file import VerifiedCheckpointIO
from continual_df.ledger import Ledger
from continual_df.metrics_log import MetricsLog
from continual_df.run_folder import RunFolder
from continual_df.run_state import RunState
from continual_df.stop_signals import StopSignals
from continual_df.task import Batch


class Classifier(LightningModule):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = timm.create_model(name, num_classes=2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = cross_entropy(self.model(batch["image"]), batch["label"])
        self.log("train/loss", loss.detach(), on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-4)


class Timed(StepCheckpoint):
    """The callback, with the time that its hooks and its saves take, and that of steps without either."""

    def __init__(self, *args: Any) -> None:  # noqa: ANN401  handed on
        super().__init__(*args)
        self.hooks: list[float] = []
        self.saves: list[float] = []
        self.steps: list[float] = []
        self._begun = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        saved = len(self.saves)
        begin = time.perf_counter()
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self._begun = time.perf_counter()
        if len(self.saves) == saved:
            self.hooks.append(self._begun - begin)

    def on_train_batch_end(self, trainer: Trainer, *rest: object) -> None:
        begin = time.perf_counter()
        self.steps.append(begin - self._begun)
        super().on_train_batch_end(trainer, *rest)
        self.hooks[-1] += time.perf_counter() - begin

    def _save(self, trainer: Trainer, module: LightningModule) -> None:
        begin = time.perf_counter()
        super()._save(trainer, module)
        self.saves.append(time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()

    columns = {
        name: torch.zeros(options.batch, dtype=torch.long) for name in ("label", "method", "task", "role", "sample")
    }
    batch: dict[str, Any] = {"image": torch.rand(options.batch, 3, options.size, options.size), **columns}
    loader: DataLoader[Any] = DataLoader([batch] * options.steps, batch_size=None)  # type: ignore[arg-type]
    module = Classifier(options.detector)
    with tempfile.TemporaryDirectory(dir=".") as path:
        folder = RunFolder(Path(path))
        state = RunState(Ledger(), MetricsLog(folder.path / "metrics.csv"))
        callback = Timed(CheckpointSchedule(every_minutes=None, every_n_steps=5), folder, state, StopSignals())
        callback.task = 1
        Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[callback],
            plugins=[VerifiedCheckpointIO()],
        ).fit(module, loader)
        size = folder.steps(1)[-1].stat().st_size

    step, hook, save = (statistics.median(times) for times in (callback.steps[1:], callback.hooks[1:], callback.saves))
    minutes = CheckpointSchedule().every_minutes
    assert minutes is not None
    share = save / (60 * minutes)
    print(f"{options.detector}, {options.size} px, batch {options.batch}, {torch.get_num_threads()} threads")
    print(f"step                     {step * 1e3:9.1f} ms (median of {len(callback.steps) - 1})")
    print(f"hooks without a save     {hook * 1e3:9.3f} ms  ratio {hook / step:.5f}")
    print(f"one save of {size / 1e6:6.1f} MB   {save * 1e3:9.1f} ms (median of {len(callback.saves)})")
    print(f"at one save in {minutes:g} min    {share + hook / step:9.5f} of training")


if __name__ == "__main__":
    main()
