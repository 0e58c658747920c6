"""What the compute ledger adds to a training step, as a ratio within one run.

    python benchmarks/ledger_overhead.py [--detector resnet10t] [--size 64] [--batch 32] [--steps 300]

Every other step goes past the ledger. Printed are the time inside the ledger's hooks over the time of a step, and the
ratio of the medians of steps with and without it (noisier: it holds the machine's own swing). The counted first step
is left out.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import timm
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from continual_df.callbacks.compute_ledger import ComputeLedger
from continual_df.ledger import Ledger
from continual_df.task import Batch


class Classifier(LightningModule):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = timm.create_model(name, num_classes=2)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return cross_entropy(self.model(batch["image"]), batch["label"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class EveryOther(ComputeLedger):
    """The ledger on even steps, with the time that its hooks take."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, max_flops=1e30)
        self.inside: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if batch_idx % 2 == 0:
            begin = time.perf_counter()
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
            self.inside.append(time.perf_counter() - begin)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        if batch_idx % 2 == 0:
            begin = time.perf_counter()
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self.inside[-1] += time.perf_counter() - begin


class Clock(Callback):
    """Time from the end of one step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()

    columns = {name: torch.zeros(options.batch, dtype=torch.long) for name in ("label", "method", "task", "sample")}
    role = torch.arange(options.batch) % 4 // 3  # a quarter is replayed
    batch: dict[str, Any] = {"image": torch.rand(options.batch, 3, options.size, options.size), "role": role, **columns}
    loader: DataLoader[Any] = DataLoader([batch] * options.steps, batch_size=None)  # type: ignore[arg-type]
    ledger, clock = EveryOther(Ledger()), Clock()
    Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[ledger, clock],
    ).fit(Classifier(options.detector), loader)

    steps = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]  # step 1 onwards
    without, with_ledger = steps[2::2], steps[1::2]
    step = statistics.median(without)
    hooks = statistics.median(ledger.inside[1:])
    print(f"{options.detector}, {options.size} px, batch {options.batch}, {torch.get_num_threads()} threads")
    print(f"step without the ledger     {step * 1e3:9.2f} ms (median of {len(without)})")
    print(f"inside the ledger's hooks   {hooks * 1e3:9.3f} ms  ratio {hooks / step:.5f}")
    print(f"steps with / without        {statistics.median(with_ledger) / step:9.4f}")


if __name__ == "__main__":
    main()
