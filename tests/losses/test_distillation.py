from __future__ import annotations

import numpy as np
import torch

from continual_df.losses.feature_distillation import feature_distillation, unit_feature_distillation
from continual_df.losses.logit_distillation import binary_logit_distillation, logit_distillation
from continual_df.losses.part_mean import part_mean


def test_feature_distillation_by_hand() -> None:
    student, teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    assert feature_distillation(student, teacher).tolist() == [12.5, 2.5]
    assert torch.allclose(unit_feature_distillation(student, teacher), torch.tensor([0.5, 1.0]))


def test_logit_distillation_is_the_divergence_of_the_softened_answers() -> None:
    rng = np.random.default_rng(0)
    student, teacher, temperature = rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), 2.5

    def soften(logit: np.ndarray) -> np.ndarray:
        power = np.exp(logit / temperature)
        return np.asarray(power / power.sum())

    expected = [
        temperature**2 * float((soften(t) * np.log(soften(t) / soften(s))).sum())
        for s, t in zip(student, teacher, strict=True)
    ]
    found = logit_distillation(torch.tensor(student), torch.tensor(teacher), temperature)
    assert np.allclose(found.numpy(), expected)
    assert np.allclose(logit_distillation(torch.tensor(teacher), torch.tensor(teacher), 3.0).numpy(), 0)


def test_the_teacher_of_a_distillation_gets_no_gradient() -> None:
    student, teacher = torch.rand(2, 3, requires_grad=True), torch.rand(2, 3, requires_grad=True)
    for loss in (feature_distillation, unit_feature_distillation, lambda s, t: logit_distillation(s, t, 2.0)):
        loss(student, teacher).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert teacher.grad is None


def test_the_mean_of_a_part_of_none_is_zero_and_stays_in_the_graph() -> None:
    loss_B = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    assert part_mean(loss_B[1:], torch.ones(3)).item() == 4
    nothing = part_mean(loss_B[:0], torch.ones(3))
    assert nothing.item() == 0
    assert nothing.requires_grad


def test_distillation_of_one_logit_is_that_of_real_at_zero() -> None:
    student_B, teacher_B = torch.tensor([0.5, -2.0]), torch.tensor([1.5, 0.0])
    student_B2, teacher_B2 = (torch.stack([torch.zeros(2), one_B], dim=1) for one_B in (student_B, teacher_B))
    expected = logit_distillation(student_B2, teacher_B2, 3.0)
    assert torch.allclose(binary_logit_distillation(student_B, teacher_B, 3.0), expected)
    p, q = teacher_B.sigmoid(), student_B.sigmoid()
    expected = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert torch.allclose(binary_logit_distillation(student_B, teacher_B, 1.0), expected, atol=1e-6)
