from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.memory import ReplayMemory
from continual_df.methods import ERACE
from continual_df.task import Rows
from tests.made_up_tasks import make_batch, make_rows, make_tasks, noise, train_on
from tests.toy import TinyDetector

TASKS = make_tasks(["a"], ["b", "c"], ["d", "a"])


def er_ace(**settings: Any) -> ERACE:
    torch.manual_seed(0)
    return ERACE(memory=ReplayMemory(100), detector=TinyDetector(), **settings)


def in_third_task(**settings: Any) -> tuple[ERACE, Rows]:
    """Return a method whose third task has begun, and the rows of the tasks before."""
    method = er_ace(**settings)
    seen = train_on(method, TASKS[:2])
    method.begin_task(TASKS[2])
    return method, Rows.concat(seen)


def test_the_loss_is_that_of_a_naive_version() -> None:
    method, old = in_third_task(replay=0.5)
    batch = make_batch(Rows.concat([make_rows(TASKS[2], 8), old]), old.num)
    with torch.no_grad():
        logit = method.head(method.detector(batch["image"]).pooled_BD).numpy().astype(float)
    losses: dict[int, list[float]] = {0: [], 1: []}
    for g, own, role in zip(logit, batch["method"].tolist(), batch["role"].tolist(), strict=True):
        among = range(5) if role else (0, 1, 4)  # real, a and d are those of the third task
        losses[role].append(np.log(sum(np.exp(g[c]) for c in among)) - g[own])
    terms = method.losses(batch)
    assert terms["detection"].item() == pytest.approx(np.mean(losses[0]), rel=1e-4)
    assert terms["replay"].item() == pytest.approx(0.5 * np.mean(losses[1]), rel=1e-4)


def test_current_rows_leave_the_outputs_of_other_tasks_alone() -> None:
    method, _ = in_third_task()
    method.zero_grad()
    terms = method.losses(make_batch(make_rows(TASKS[2])))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    # one part of the head for each task that brought classes: real and a, b and c, d
    moved = [bool(part.weight.grad.any()) for part in method.head.parts]  # type: ignore[union-attr, operator]
    assert moved == [True, False, True]
    assert terms["replay"].item() == 0


def test_class_outputs_attribute_and_decide() -> None:
    method, _ = in_third_task()
    prediction = method.eval()(noise(torch.arange(4)))
    assert prediction.method_logits is not None
    exp = np.exp(prediction.method_logits.detach().numpy().astype(float))
    assert exp.shape == (4, 5)
    fake = np.log(exp[:, 1:].sum(axis=1) / exp[:, 0])
    assert prediction.fake_logit.detach().numpy() == pytest.approx(fake, abs=1e-4)
    assert torch.allclose(method.fake_logit(prediction.features), prediction.fake_logit)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="replay must be at least 0, got -1"):
        er_ace(replay=-1)
