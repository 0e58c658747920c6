from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from continual_df.data.stream import Stream
from continual_df.memory import ReplayMemory, select_class_balanced
from continual_df.methods import Brick, Finetune, Replay
from continual_df.models.detector import TimmDetector
from continual_df.task import Task
from tests.made_up_tasks import make_batch, make_rows, make_tasks
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run

OPTIMIZER = functools.partial(Adam, lr=3e-2)

EVERYTHING: dict[str, Any] = {
    "classifier": "heads",
    "align": 0.01,
    "logit": 0.1,
    "feature": 1.0,
    "isolation": 0.1,
    "balanced": True,
}


def make(cls: type[Replay] = Brick, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    memory = ReplayMemory(24, rule=select_class_balanced)
    settings: dict[str, Any] = {"detector": TinyDetector(), "optimizer": OPTIMIZER, "batch_size": 16}
    return cls(memory=memory, **{**settings, **kwargs})


def task(index: int) -> Task:
    return Task(index, str(index), (f"m{index}",), real_domain=0)


def test_with_all_parts_off_it_is_experience_replay(toy_stream: Stream, tmp_path: Path) -> None:
    found, _ = run(make(slow=0), ToyData(toy_stream), tmp_path / "brick", epochs=3)
    expected, _ = run(make(Replay), ToyData(toy_stream), tmp_path / "replay", epochs=3)
    assert found["matrices"]["auc"] == expected["matrices"]["auc"]


def test_slow_weights_move_a_share_of_the_way_and_predict(toy_stream: Stream, tmp_path: Path) -> None:
    brick = make(slow=0.5, optimizer=functools.partial(SGD, lr=0.1))
    run(brick, ToyData(toy_stream), tmp_path / "run", epochs=2)
    fast, slow = brick.detector.filters.weight, brick.slow.module["detector"].filters.weight
    assert not torch.allclose(fast, slow)
    image = torch.rand(3, 3, 16, 16)
    expected = brick.slow.module["head"](brick.slow.module["detector"](image).pooled_BD).squeeze(1)
    assert torch.equal(brick(image).fake_logit, expected)
    brick.begin_task(task(3))
    assert torch.equal(brick.detector.filters.weight, brick.slow.module["detector"].filters.weight)


def test_of_what_was_before_a_task_a_share_stays(toy_stream: Stream, tmp_path: Path) -> None:
    """With weights that do not move, slow weights set off the fast ones come back by exp(-epochs / slow) in a task."""
    brick = make(slow=0.8, optimizer=functools.partial(SGD, lr=0.0))
    begin = brick.begin_task

    def shifted(task: Task) -> None:
        begin(task)
        brick.slow.module["head"].bias.data.add_(task.number == 3)

    brick.begin_task = shifted
    run(brick, ToyData(toy_stream), tmp_path / "run", epochs=2)
    assert float(brick.slow.module["head"].bias - brick.head.bias) == pytest.approx(math.exp(-2 / 0.8), rel=1e-3)


def test_slow_weights_do_not_wait_for_epochs_that_never_come(toy_stream: Stream, tmp_path: Path) -> None:
    """A budget ends training long before max_epochs, which then says nothing about its length."""
    both = []
    for epochs, options in ((2, {}), (1000, {"max_steps": 6})):
        brick = make(slow=1.0, optimizer=functools.partial(SGD, lr=0.1))
        run(brick, ToyData(toy_stream), tmp_path / str(epochs), epochs=epochs, **options)
        both.append(brick.slow.module["head"].weight)
    assert torch.equal(*both)


def test_in_the_first_task_the_slow_weights_are_those_that_are_trained(toy_stream: Stream, tmp_path: Path) -> None:
    brick = make(slow=5.0)
    after: list[bool] = []
    end = brick.end_task

    def compared(task: Task, *rest: Any) -> None:
        fast, slow = brick._fast.state_dict(), brick.slow.module.state_dict()
        after.append(all(torch.equal(value, slow[name]) for name, value in fast.items()))
        end(task, *rest)

    brick.end_task = compared
    run(brick, ToyData(toy_stream), tmp_path / "run", epochs=1)
    assert after == [True, False, False]


def test_every_part_together_learns_and_is_restored(toy_stream: Stream, tmp_path: Path) -> None:
    brick = make(**EVERYTHING)
    results, _ = run(brick, ToyData(toy_stream), tmp_path / "run", epochs=2)
    assert np.isfinite(np.array(results["matrices"]["auc"], dtype=float)).all()
    assert brick.decision_directions().shape == (3, 8)
    saved = torch.load(next((tmp_path / "run/tasks/3").glob("*.ckpt")), weights_only=True)["state_dict"]
    other = make(**EVERYTHING)
    other.restore(toy_stream.tasks, saved)
    image = torch.rand(5, 3, 16, 16)
    assert torch.equal(brick.eval()(image).fake_logit, other.eval()(image).fake_logit)


def test_ridge_regression_predicts_at_the_end_of_a_task(toy_stream: Stream, tmp_path: Path) -> None:
    brick = make(classifier="ridge")
    results, _ = run(brick, ToyData(toy_stream), tmp_path / "run", epochs=6)
    image = torch.rand(5, 3, 16, 16)
    feature_BD = brick.slow.module["detector"](image).pooled_BD
    assert torch.equal(
        brick(image).fake_logit, nn.functional.linear(feature_BD, brick.ridge.weight, brick.ridge.bias)[:, 0]
    )
    assert results["summary"]["auc"]["average"] > 0.8
    brick.begin_task(task(3))
    assert torch.equal(
        brick(image).fake_logit, brick.slow.module["head"](brick.slow.module["detector"](image).pooled_BD)[:, 0]
    )


def test_early_stages_are_frozen_from_the_second_task_on() -> None:
    brick = make(detector=TimmDetector("test_resnet"), frozen_stages=2)
    brick.begin_task(task(0))
    assert all(parameter.requires_grad for parameter in brick.detector.parameters())
    brick.begin_task(task(1))
    frozen = [parameter for parameter in brick.detector.parameters() if not parameter.requires_grad]
    assert 0 < len(frozen) < len(list(brick.detector.parameters()))
    known = {id(p) for group in brick.configure_optimizers().param_groups for p in group["params"]}
    assert not known & {id(parameter) for parameter in frozen}


def test_it_forgets_less_than_finetuning(toy_stream: Stream, tmp_path: Path) -> None:
    torch.manual_seed(0)
    finetune = Finetune(TinyDetector(), OPTIMIZER, batch_size=16)
    kept, _ = run(make(), ToyData(toy_stream), tmp_path / "brick")
    lost, _ = run(finetune, ToyData(toy_stream), tmp_path / "finetune")
    assert kept["summary"]["auc"]["forgetting"] < lost["summary"]["auc"]["forgetting"] - 0.1
    assert kept["summary"]["auc"]["average"] > lost["summary"]["auc"]["average"] + 0.1


def test_settings_that_do_nothing_or_are_out_of_range_are_refused() -> None:
    with pytest.raises(
        ValueError, match="align turns the heads of several tasks: it needs classifier heads, got linear"
    ):
        make(align=0.1)
    with pytest.raises(ValueError, match="slow must be at least 0, got -1"):
        make(slow=-1)
    with pytest.raises(ValueError, match="isolation must be at least 0, got -1"):
        make(isolation=-1)


def test_each_class_is_learnt_by_a_sigmoid_and_real_stands_against_all_others() -> None:
    brick = make(classifier="classes", slow=0)
    first, second = make_tasks(["a", "b"], ["c"])
    brick.begin_task(first)
    brick.begin_task(second)
    batch = make_batch(make_rows(second, 8))
    logit_BC = brick.head(brick.detector(batch["image"]).pooled_BD)
    assert logit_BC.shape == (8, 4)
    right_BC = torch.arange(4) == batch["method"][:, None]
    expected = -torch.where(right_BC, logit_BC.sigmoid(), 1 - logit_BC.sigmoid()).log().sum(dim=1).mean()
    assert float(brick.losses(batch)["detection"]) == pytest.approx(float(expected))
    prediction = brick(batch["image"])
    torch.testing.assert_close(prediction.fake_logit.sigmoid(), 1 - logit_BC.softmax(dim=1)[:, 0])
    torch.testing.assert_close(prediction.method_logits, logit_BC)
    assert brick.decision_directions().shape == (3, brick.detector.num_features)


def test_slow_weights_keep_the_outputs_of_old_classes(toy_stream: Stream, tmp_path: Path) -> None:
    brick = make(classifier="classes", slow=1.0)
    found, _ = run(brick, ToyData(toy_stream), tmp_path / "run", epochs=6)
    assert brick.slow.module["head"].num_classes == len(toy_stream.tasks) + 1
    assert np.diag(np.array(found["matrices"]["auc"], dtype=float)[1:]).min() > 0.8
