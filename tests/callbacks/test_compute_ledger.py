from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy
from torch.utils.data import DataLoader, Dataset

from continual_df.callbacks.compute_ledger import ComputeLedger
from continual_df.errors import ConfigError
from continual_df.ledger import Ledger, phase
from continual_df.task import Batch, Role


class Images(Dataset[dict[str, Any]]):
    """Rows of random images, of which every fourth is replayed; the transform blurs, at a cost that is nobody's."""

    def __init__(self, num: int = 20) -> None:
        self.num = num

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, row: int) -> dict[str, Any]:
        image = conv2d(torch.randn(3, 1, 8, 8), torch.ones(1, 1, 3, 3), padding=1).reshape(3, 8, 8)
        role = Role.REPLAY if row % 4 == 3 else Role.CURRENT
        return {"image": image, "label": row % 2, "method": row % 2, "task": 0, "role": int(role), "sample": row}


class Toy(LightningModule):
    def __init__(self, teach: bool = False, fail_at: int = -1) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(8 * 64, 2)
        self.teach = teach
        self.fail_at = fail_at

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.backbone(image))  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self(batch["image"])
        if self.teach:
            with phase("teacher"), torch.no_grad():
                self.head(self.backbone(batch["image"]))
        if batch_idx == self.fail_at:
            raise ZeroDivisionError
        return cross_entropy(logits, batch["label"])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self(batch["image"])

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self(batch["image"])  # type: ignore[no-any-return]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


CONV = 2 * (8 * 64) * (3 * 9)  # FLOPs of an image's forward, by hand
LINEAR = 2 * (8 * 64) * 2
TRAIN = 2 * CONV + 3 * LINEAR  # no gradient of the images
STEPS = 5


def loader(num_workers: int = 0, num: int = 20) -> DataLoader[dict[str, Any]]:
    return DataLoader(Images(num), batch_size=4, num_workers=num_workers)


def trainer(*callbacks: Callback, max_epochs: int = 1, **options: Any) -> Trainer:
    options = {"logger": False, "enable_checkpointing": False, **options}
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=max_epochs,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def fit(module: LightningModule | None = None, **options: Any) -> Ledger:
    ledger = Ledger()
    ledger.task = 1
    with ledger.activate():
        trainer(ComputeLedger(ledger), **options).fit(module or Toy(), loader())
    return ledger


def test_training_costs_what_a_hand_count_says_and_replay_its_share() -> None:
    ledger = fit()
    assert ledger.cost(1, ["train"]).flops == STEPS * 3 * TRAIN
    assert ledger.cost(1, ["replay"]).flops == STEPS * 1 * TRAIN
    assert (ledger.cost(1, ["train"]).images, ledger.cost(1, ["replay"]).images) == (15, 5)
    assert ledger.cost(1).steps == STEPS
    seconds = ledger.cost(1, ["train"]).seconds
    assert seconds > 0
    assert ledger.cost(1, ["replay"]).seconds == pytest.approx(seconds / 3)


def test_the_device_that_trains_is_noted() -> None:
    assert fit().devices == {"cpu"}


def test_frozen_backbone_costs_less() -> None:
    module = Toy()
    module.backbone.requires_grad_(False)
    assert fit(module).cost().flops == STEPS * 4 * (CONV + 2 * LINEAR)


def test_parts_frozen_in_mid_fit_cost_less_from_then_on() -> None:
    class Freeze(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
        ) -> None:
            assert isinstance(pl_module, Toy)
            pl_module.backbone.requires_grad_(batch_idx < 2)

    ledger = Ledger()
    trainer(Freeze(), ComputeLedger(ledger)).fit(Toy(), loader())
    assert ledger.cost().flops == 4 * (2 * TRAIN + 3 * (CONV + 2 * LINEAR))


def test_phase_of_the_method_keeps_its_own() -> None:
    ledger = fit(Toy(teach=True))
    assert ledger.cost(1, ["teacher"]).flops == STEPS * 4 * (CONV + LINEAR)
    assert ledger.cost(1, ["train", "replay"]).flops == STEPS * 4 * TRAIN


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-mixed"},
        {"accumulate_grad_batches": 2},
        {"gradient_clip_val": 1.0},
        {"detect_anomaly": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_trainer_options_do_not_change_the_count(options: dict[str, Any]) -> None:
    assert fit(**options).cost().flops == STEPS * 4 * TRAIN


def test_compiled_backbone_costs_as_much_as_the_plain_one() -> None:
    module = Toy()
    module.backbone.compile(backend="aot_eager")
    assert fit(module, max_epochs=2).cost().flops == 2 * STEPS * 4 * TRAIN


@pytest.mark.parametrize("num_workers", [0, 2])
def test_count_is_independent_of_workers_and_of_caching(num_workers: int) -> None:
    for every in (False, True):
        ledger = Ledger(count_every_step=every)
        with ledger.activate():
            run = trainer(ComputeLedger(ledger))
            run.fit(Toy(teach=True), loader(num_workers, num=18), loader(num_workers))
        assert ledger.cost(phases=["train", "replay"]).flops == 18 * TRAIN
        assert ledger.cost(phases=["teacher"]).flops == 18 * (CONV + LINEAR)
        assert ledger.cost(phases=["validate"]).flops == 20 * (CONV + LINEAR)
        assert ledger.cost().flops == 18 * TRAIN + 38 * (CONV + LINEAR)


def test_prediction_is_a_phase_of_the_task_that_the_loop_names() -> None:
    ledger = Ledger()
    module, callback = Toy(), ComputeLedger(ledger)
    trainer(callback).predict(module, loader())
    ledger.task = 1
    trainer(callback).fit(module, loader())
    trainer(callback).predict(module, loader(num=8))
    assert ledger.cost(0, ["predict"]).flops == ledger.cost(0).flops == 20 * (CONV + LINEAR)
    assert ledger.cost(1, ["predict"]).flops == 8 * (CONV + LINEAR)
    assert ledger.cost(1, ["train", "replay"]).flops == 20 * TRAIN


def test_another_model_under_the_same_shapes_is_counted_anew() -> None:
    ledger = Ledger()
    callback, wider = ComputeLedger(ledger), Toy()
    wider.backbone[0] = nn.Conv2d(3, 16, 3, padding=1)
    wider.head = nn.Linear(16 * 64, 2)
    trainer(callback).predict(Toy(), loader())
    trainer(callback).predict(wider, loader())
    assert ledger.cost().flops == 20 * 3 * (CONV + LINEAR)


def test_phase_around_a_trainer_claims_its_steps_but_not_its_loading() -> None:
    ledger = Ledger()
    with ledger.activate(), phase("selection"):
        trainer(ComputeLedger(ledger)).predict(Toy(), loader())
    assert ledger.cost().flops == ledger.cost(phases=["selection"]).flops == 20 * (CONV + LINEAR)
    assert ledger.cost(phases=["selection"]).images == 20


@pytest.mark.parametrize("caps", [{"max_flops": 7.0}, {"max_flops_total": 7.0}, {"max_flops": 6.5}])
def test_budget_ends_training_with_the_step_that_reaches_it(
    caps: dict[str, float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lightning hands its messages on only if something had set up logging before it was imported; where pytest listens
    # to its logger too, it hears one record twice.
    monkeypatch.setattr(logging.getLogger("pytorch_lightning"), "propagate", True)
    step = 4 * TRAIN
    ledger = Ledger()
    run = trainer(ComputeLedger(ledger, **{name: cap * step for name, cap in caps.items()}), max_epochs=-1)
    with caplog.at_level("INFO"), caplog.at_level("INFO", logger="pytorch_lightning"):
        run.fit(Toy(), loader(), loader())
    assert run.global_step == 7
    assert ledger.cost(phases=["train", "replay"]).flops == 7 * step
    assert ledger.cost(phases=["validate"]).flops > 0  # paid, but no part of the budget
    assert len({id(record) for record in caplog.records if "is spent" in record.message}) == 1


def test_budget_includes_the_phases_that_the_method_opens() -> None:
    ledger = Ledger()
    step = 4 * (TRAIN + CONV + LINEAR)
    with ledger.activate():
        run = trainer(ComputeLedger(ledger, max_flops=3 * step), max_epochs=-1)
        run.fit(Toy(teach=True), loader())
    assert run.global_step == 3


def test_budget_per_task_begins_anew_and_the_total_does_not() -> None:
    ledger, step = Ledger(), 4 * TRAIN
    callback = ComputeLedger(ledger, max_flops=3 * step, max_flops_total=5 * step)
    steps = []
    for task in (1, 2, 3):
        ledger.task = task
        run = trainer(callback, max_epochs=-1)
        run.fit(Toy(), loader())
        steps.append(run.global_step)
    assert steps == [3, 2, 0]


def test_budget_that_is_not_reached_changes_nothing() -> None:
    ledger = Ledger()
    run = trainer(ComputeLedger(ledger, max_flops=1e15), max_epochs=2)
    run.fit(Toy(), loader())
    assert run.global_step == 2 * STEPS


@pytest.mark.parametrize("limits", [{"min_epochs": 2}, {"min_steps": 3}])
def test_budget_refuses_a_minimum_that_would_break_it(limits: dict[str, int]) -> None:
    run = trainer(ComputeLedger(Ledger(), max_flops=1.0), max_epochs=4, **limits)
    with pytest.raises(ConfigError, match="Remove them"):
        run.fit(Toy(), loader())


@pytest.mark.parametrize("name", ["max_flops", "max_flops_total"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_budget_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        ComputeLedger(Ledger(), **{name: value})


def test_failure_in_a_step_leaves_the_ledger_usable() -> None:
    ledger = Ledger()
    callback = ComputeLedger(ledger)
    with pytest.raises(ZeroDivisionError):
        trainer(callback).fit(Toy(fail_at=0), loader())
    assert ledger.cost().flops == 4 * (CONV + LINEAR)  # what ran before it failed
    trainer(callback).fit(Toy(), loader())
    assert ledger.cost().flops == 4 * (CONV + LINEAR) + 20 * TRAIN


def test_failure_inside_an_open_phase_leaves_that_phase_counting() -> None:
    ledger = Ledger()
    with ledger.phase("search"):
        with pytest.raises(ZeroDivisionError):
            trainer(ComputeLedger(ledger)).fit(Toy(fail_at=1), loader())
        before = ledger.cost().flops
        torch.randn(3, 4) @ torch.randn(4, 5)
    assert ledger.cost(phases=["search"]).flops == ledger.cost().flops == before + 2 * 3 * 4 * 5


def test_batches_that_differ_in_size_alone_are_counted_apart() -> None:
    ledger = Ledger()
    trainer(ComputeLedger(ledger)).fit(Toy(), DataLoader(Images(3), batch_size=2))
    assert ledger.cost().flops == 3 * TRAIN


def test_epoch_that_the_module_cuts_short_costs_its_steps() -> None:
    class Short(Toy):
        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
            return -1 if batch_idx == 2 or self.current_epoch == 0 else None

    ledger = fit(Short(), max_epochs=2)
    assert ledger.cost().flops == 2 * 4 * TRAIN
    assert ledger.cost().steps == 2
