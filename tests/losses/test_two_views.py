from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.pair_similarity import pair_similarity
from continual_df.losses.self_distillation import self_distillation, teacher_temperature
from continual_df.losses.view_contrast import view_contrast


def softmax(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("temperature", [0.7, 0.4])
def test_self_distillation_is_the_cross_entropy_with_the_other_view(temperature: float) -> None:
    one, two = np.random.default_rng(0).normal(size=(2, 6, 4))
    cost = [
        -(softmax(teacher / temperature) * np.log(softmax(student))).sum(axis=1)
        for student, teacher in ((one, two), (two, one))
    ]
    found = self_distillation(torch.from_numpy(one), torch.from_numpy(two), temperature)
    assert found.numpy() == pytest.approx((cost[0] + cost[1]) / 2, rel=1e-5)


def test_teachers_get_no_gradient() -> None:
    logit_BK = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    other_BK = torch.randn(1, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    self_distillation(logit_BK, other_BK, 0.5).sum().backward()  # type: ignore[no-untyped-call]
    for student, teacher in ((logit_BK, other_BK), (other_BK, logit_BK)):
        expected = (student.softmax(dim=1) - (teacher / 0.5).softmax(dim=1)).detach() / 2
        torch.testing.assert_close(student.grad, expected)


def test_the_teacher_becomes_sharper_in_equal_steps() -> None:
    found = [teacher_temperature(epoch) for epoch in range(40)]
    expected = [*np.linspace(0.7, 0.4, 30), *[0.4] * 10]
    assert found == pytest.approx(expected)
    assert [teacher_temperature(epoch, 0.7, 0.4, 1) for epoch in (0, 1)] == pytest.approx([0.7, 0.4])


def test_info_nce_is_the_cross_entropy_of_the_other_view_among_all_others() -> None:
    one, two = np.random.default_rng(0).normal(size=(2, 4, 3))
    z = [row / np.linalg.norm(row) for row in (*one, *two)]
    costs = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        total = sum(math.exp(z[i] @ z[j] / 0.5) for j in others)
        costs.append(-math.log(math.exp(z[i] @ z[(i + 4) % 8] / 0.5) / total))
    found = view_contrast(torch.from_numpy(one), torch.from_numpy(two), 0.5)
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-5)


def test_supervised_contrast_has_all_views_of_the_class_for_positives() -> None:
    one, two = np.random.default_rng(1).normal(size=(2, 4, 3))
    z, label = [row / np.linalg.norm(row) for row in (*one, *two)], [0, 1, 0, 2] * 2
    costs = []
    for i in range(8):
        others = [j for j in range(8) if j != i]
        total = sum(math.exp(z[i] @ z[j] / 0.07) for j in others)
        costs.append(-np.mean([z[i] @ z[j] / 0.07 - math.log(total) for j in others if label[j] == label[i]]))
    found = view_contrast(torch.from_numpy(one), torch.from_numpy(two), 0.07, torch.tensor(label[:4]))
    assert found.item() == pytest.approx(np.mean(costs), rel=1e-4)


def test_contrast_does_not_depend_on_autocast() -> None:
    one, two = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = view_contrast(one, two, 0.07)
    assert torch.equal(half, view_contrast(one, two, 0.07))


def test_pair_similarity_is_the_mean_square_over_the_other_of_each_pair() -> None:
    rng = np.random.default_rng(2)
    logit, score = rng.normal(size=(4, 3)), rng.random((4, 4))
    p = softmax(logit)
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in p] for a in p]
    expected = ((np.array(cosine) - score) ** 2).mean(axis=1)
    assert pair_similarity(torch.from_numpy(logit), torch.from_numpy(score)).numpy() == pytest.approx(
        expected, abs=1e-6
    )
