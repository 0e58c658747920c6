from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.memory import ReplayMemory, select_hard_central
from continual_df.methods import DFIL
from continual_df.task import Rows
from tests.made_up_tasks import make_batch, make_rows, make_tasks, train_on
from tests.toy import TinyDetector

FIRST, SECOND = make_tasks(["a"], ["b"])


def dfil(**settings: float) -> DFIL:
    torch.manual_seed(0)
    return DFIL(detector=TinyDetector(), memory=ReplayMemory(8), **settings)


def drifted(**settings: float) -> DFIL:
    """Return a method in its second task, away from its teacher."""
    method = dfil(**settings)
    method.begin_task(FIRST)
    method.begin_task(SECOND)
    with torch.no_grad():
        for parameter in (*method.detector.parameters(), *method.head.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_the_terms_are_those_of_the_paper() -> None:
    method = drifted(contrast_temperature=0.01)  # noise looks much alike
    batch = make_batch(Rows.concat([make_rows(SECOND, 6), make_rows(FIRST, 4)]), replayed=4)
    terms = {name: value.item() for name, value in method.losses(batch).items()}
    assert method.teacher is not None
    assert method.teacher_head is not None
    with torch.no_grad():
        f = method.detector(batch["image"]).pooled_BD.numpy().astype(float)
        g = method.teacher(batch["image"]).pooled_BD
        h = method.teacher_head(g).squeeze(1).numpy().astype(float)
        s = method(batch["image"]).fake_logit.numpy().astype(float)
    y, g = batch["label"].numpy(), g.numpy().astype(float)
    ce = np.mean(-y * np.log(sigmoid(s)) - (1 - y) * np.log(1 - sigmoid(s)))
    kd = 0.0
    for student, teacher in zip(s / 20, h / 20, strict=True):
        for p, q in ((sigmoid(teacher), sigmoid(student)), (1 - sigmoid(teacher), 1 - sigmoid(student))):
            kd += 20**2 * p * np.log(p / q) / len(y)
    f, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (f, g))
    supcon = 0.0
    for i in range(len(y)):
        others = [a for a in range(len(y)) if a != i]
        total = sum(np.exp(f[i] @ f[a] / 0.01) for a in others)
        positives = [p for p in others if y[p] == y[i]]
        supcon -= sum(np.log(np.exp(f[i] @ f[p] / 0.01) / total) for p in positives) / len(positives) / len(y)
    expected = {
        "detection": ce,
        "contrastive": 0.1 * supcon,
        "feature": 0.01 * np.mean((f - g) ** 2),
        "logit": 0.3 * kd + 0.7 * ce,
    }
    assert terms == pytest.approx(expected, rel=1e-4)
    assert kd > 1e-3


def test_the_first_task_has_no_teacher_and_a_contrastive_weight_of_its_own() -> None:
    first, other = dfil(first_contrastive=1.0), dfil(first_contrastive=0.5)
    for method in (first, other):
        method.begin_task(FIRST)
    batch = make_batch(make_rows(FIRST))
    terms, half = first.losses(batch), other.losses(batch)
    assert set(terms) == {"detection", "contrastive"}
    assert terms["contrastive"].item() == pytest.approx(2 * half["contrastive"].item())


@pytest.mark.parametrize("name", ["detection", "contrastive", "feature", "logit"])
def test_a_weight_of_zero_switches_its_term_off(name: str) -> None:
    batch = make_batch(make_rows(SECOND))
    assert set(drifted().losses(batch)) - set(drifted(**{name: 0.0}).losses(batch)) == {name}


def test_a_student_that_has_not_moved_is_not_held() -> None:
    method = dfil(alpha=1.0)
    method.begin_task(FIRST)
    method.begin_task(SECOND)
    terms = method.losses(make_batch(make_rows(SECOND)))
    assert terms["feature"].item() == terms["logit"].item() == 0


def test_rows_of_all_roles_go_through_the_detector_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method, sizes = drifted(), []
    method.detector.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    method.losses(make_batch(Rows.concat([make_rows(SECOND, 6), make_rows(FIRST, 4)]), replayed=4))
    assert sizes == [10]


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got 1.5"):
        dfil(alpha=1.5)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        dfil(temperature=0)


def test_the_memory_holds_as_many_hard_as_central_rows_of_every_domain() -> None:
    method = dfil()
    method.memory = ReplayMemory(8, per_task=True, rule=select_hard_central)
    train_on(method, [FIRST, SECOND], num_rows=20)
    rows = method.memory.rows
    assert [(rows.task * 2 + rows.label == domain).sum().item() for domain in range(4)] == [4] * 4
