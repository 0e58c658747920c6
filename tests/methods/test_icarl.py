from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from continual_df.memory import ReplayMemory
from continual_df.methods import ICaRL
from continual_df.task import Batch, Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, noise, train_on, train_task
from tests.toy import TinyDetector

TASKS = make_tasks(["a"], ["b", "c"], ["d", "a"])


def icarl(**settings: Any) -> ICaRL:
    torch.manual_seed(0)
    return ICaRL(memory=ReplayMemory(100), detector=TinyDetector(), **settings)


def in_third_task(**settings: Any) -> tuple[ICaRL, Batch]:
    """Return a method whose third task has begun, away from its teacher, and a batch with replayed rows of both others."""
    method = icarl(**settings)
    seen = train_on(method, TASKS[:2])
    method.begin_task(TASKS[2])
    with torch.no_grad():
        for parameter in method.detector.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    old = Rows.concat(seen)
    return method, make_batch(Rows.concat([make_rows(TASKS[2]), old]), old.num)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def outputs(method: ICaRL, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of student and teacher."""
    assert method.teacher is not None
    assert method.teacher_head is not None
    with torch.no_grad():
        student = method.head(method.detector(batch["image"]).pooled_BD)
        teacher = method.teacher_head(method.teacher(batch["image"]).pooled_BD)
    return sigmoid(student.numpy().astype(float)), sigmoid(teacher.numpy().astype(float))


@pytest.mark.parametrize("distillation", [1.0, 0.25, 0.0])
def test_the_loss_over_class_ids_is_that_of_a_naive_version(distillation: float) -> None:
    method, batch = in_third_task(distillation=1.0)
    method.distillation = distillation
    student, teacher = outputs(method, batch)
    # ids: real 0, a 1, b 2, c 3, d 4; task 3 labels a and d, so that only b and c are the teacher's
    by_label, by_teacher = 0.0, 0.0
    for g, t, own in zip(student, teacher, batch["method"].tolist(), strict=True):
        for c in range(5):
            bce = [-np.log(1 - g[c]), -np.log(g[c])]
            label = bce[int(c == own)]
            if c in (2, 3):
                by_label += (1 - distillation) * label
                by_teacher += distillation * (t[c] * bce[1] + (1 - t[c]) * bce[0])
            else:
                by_label += label
    terms = method.losses(batch)
    assert terms["detection"].item() == pytest.approx(by_label / len(student), rel=1e-4)
    assert terms["distillation"].item() == pytest.approx(by_teacher / len(student), rel=1e-4)


def test_the_binary_loss_has_labels_for_current_rows_and_the_teacher_for_replayed_ones() -> None:
    method, batch = in_third_task(targets="binary")
    student, teacher = outputs(method, batch)
    assert student.shape[1] == 1
    expected = {"detection": 0.0, "distillation": 0.0}
    for (g,), (t,), label, role in zip(student, teacher, batch["label"], batch["role"], strict=True):
        y = t if role else float(label)
        expected["distillation" if role else "detection"] -= y * np.log(g) + (1 - y) * np.log(1 - g)
    terms = method.losses(batch)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value / len(student), rel=1e-4)


def test_without_distillation_there_is_no_teacher() -> None:
    method = icarl(distillation=0.0)
    train_on(method, TASKS)
    assert method.teacher is None
    assert set(method.losses(make_batch(make_rows(TASKS[2])))) == {"detection"}


def test_a_row_that_is_alone_in_a_process_has_every_term() -> None:
    method, _ = in_third_task(targets="binary")
    terms = method.losses(make_batch(make_rows(TASKS[2], 1)))
    assert terms["distillation"].item() == 0
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]


def test_class_outputs_attribute_and_decide() -> None:
    method = icarl()
    train_on(method, TASKS)
    prediction = method.eval()(noise(torch.arange(4)))
    assert prediction.method_logits is not None
    exp = np.exp(prediction.method_logits.detach().numpy().astype(float))
    fake = np.log(exp[:, 1:].sum(axis=1) / exp[:, 0])
    assert prediction.fake_logit.detach().numpy() == pytest.approx(fake, abs=1e-4)


@pytest.mark.parametrize("targets", ["method", "binary"])
def test_means_are_those_of_the_memory_when_a_task_ends_and_the_head_predicts_before(targets: Any) -> None:
    method = icarl(classifier="nearest_mean", targets=targets)
    image = noise(torch.arange(4))
    seen: list[Rows] = []
    for task in TASKS[:2]:
        seen.append(make_rows(task))
        train_task(method, task, seen)
    assert method.means is not None
    remembered = method.memory.rows
    z = functional.normalize(extract_of(method)(remembered, ("features",))["features"], dim=1)
    own = z[(remembered.task == 1) & (remembered.method == 2)]
    assert torch.allclose(method.means.mean_TCD[1, 2], functional.normalize(own.mean(dim=0), dim=0), atol=1e-6)
    ended = method.eval()(image)
    assert torch.equal(ended.method_logits, method.means(ended.features))
    method.begin_task(TASKS[2])
    begun = method(image)
    head = method.head(begun.features)
    expected = head[:, 0] if targets == "binary" else head[:, 1:].logsumexp(dim=1) - head[:, 0]
    assert torch.equal(begun.fake_logit, expected)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"distillation must be in \[0, 1\], got 2"):
        icarl(distillation=2)
