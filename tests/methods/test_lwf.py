from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.methods import LwF
from continual_df.task import Batch
from tests.made_up_tasks import make_batch, make_rows, make_tasks, train_on
from tests.toy import TinyDetector

TASKS = make_tasks(["a"], ["b"], ["c"])


def lwf(**settings: Any) -> LwF:
    torch.manual_seed(0)
    return LwF(detector=TinyDetector(), **settings)


def in_third_task(**settings: Any) -> tuple[LwF, Batch]:
    """Return a method whose third task has begun, away from its teacher, and a batch of it."""
    method = lwf(**settings)
    train_on(method, TASKS[:2])
    method.begin_task(TASKS[2])
    with torch.no_grad():
        for parameter in (*method.detector.parameters(), *method.head.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method, make_batch(make_rows(TASKS[2]))


@pytest.mark.parametrize(("heads", "old"), [("shared", [0]), ("task", [0, 1])])
def test_the_loss_is_that_of_a_naive_version(heads: Any, old: list[int]) -> None:
    method, batch = in_third_task(heads=heads, distillation=3.0, temperature=2.0)
    assert method.teacher is not None
    assert method.teacher_head is not None
    with torch.no_grad():
        now = method.head(method.detector(batch["image"]).pooled_BD)[..., 0].numpy().astype(float)
        was = method.teacher_head(method.teacher(batch["image"]).pooled_BD)[..., 0].numpy().astype(float)

    def softened(z: float) -> np.ndarray:
        """Return P(real), P(fake), each raised to the power 1 / T, then normalised."""
        p = np.array([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))]) ** 0.5
        return np.asarray(p / p.sum())

    kept = [-np.sum(softened(was[i, t]) * np.log(softened(now[i, t]))) for i in range(len(now)) for t in old]
    new = [np.log(1 + np.exp(-z if y else z)) for z, y in zip(now[:, -1], batch["label"], strict=True)]
    terms = method.losses(batch)
    assert terms["distillation"].item() == pytest.approx(3 * np.mean(kept), rel=1e-4)
    assert terms["detection"].item() == pytest.approx(np.mean(new), rel=1e-4)
    said = method(batch["image"]).fake_logit.detach().numpy()
    assert said == pytest.approx(now.mean(axis=1), abs=1e-4)
    assert method.decision_directions().shape == (now.shape[1], TinyDetector.num_features)


def test_the_first_task_has_no_teacher() -> None:
    method = lwf()
    method.begin_task(TASKS[0])
    assert set(method.losses(make_batch(make_rows(TASKS[0])))) == {"detection"}


def test_distillation_of_weight_zero_is_off() -> None:
    method, batch = in_third_task(distillation=0.0)
    assert method.losses(batch)["distillation"].item() == 0


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="distillation must be at least 0, got -1"):
        lwf(distillation=-1)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        lwf(temperature=0)
