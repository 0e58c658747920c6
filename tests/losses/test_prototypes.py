from __future__ import annotations

import numpy as np
import torch

from continual_df.losses.prototypes import assignment_loss, similarity_logits


def test_similarities_are_cosines_over_the_temperature() -> None:
    rng = np.random.default_rng(0)
    feature, prototype = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    expected = [[f @ p / np.linalg.norm(f) / np.linalg.norm(p) / 0.2 for p in prototype] for f in feature]
    found = similarity_logits(torch.from_numpy(feature), torch.from_numpy(prototype), 0.2)
    np.testing.assert_allclose(found.numpy(), expected)


def test_the_assignment_is_minus_the_logarithm_of_the_share_in_the_own_prototypes() -> None:
    similarity_BP = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    own_BP = torch.tensor([[True, False, False, True], [False, True, False, False]])
    e = np.exp([2.0, 1.0, 0.0, -1.0])
    expected = [-np.log((e[0] + e[3]) / e.sum()), np.log(4)]
    np.testing.assert_allclose(assignment_loss(similarity_BP, own_BP).numpy(), expected)


def test_a_row_without_a_prototype_of_its_own_costs_nothing() -> None:
    similarity_BP = torch.rand(2, 3, requires_grad=True)
    loss_B = assignment_loss(similarity_BP, torch.tensor([[False] * 3, [True, False, False]]))
    loss_B.sum().backward()  # type: ignore[no-untyped-call]
    assert loss_B[0] == 0
    assert similarity_BP.grad is not None
    assert not similarity_BP.grad[0].any()
    assert similarity_BP.grad[1].all()
