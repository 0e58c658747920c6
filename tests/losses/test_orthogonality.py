from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.losses.orthogonality import orthogonality


def test_it_is_the_sum_of_squared_products_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    new, earlier = rng.standard_normal((3, 5)), rng.standard_normal((4, 5))
    expected = sum((a * b).sum() ** 2 for a in new for b in earlier)
    assert float(orthogonality(torch.tensor(new), torch.tensor(earlier))) == pytest.approx(expected)


def test_it_is_zero_for_orthogonal_directions_and_where_nothing_is_earlier() -> None:
    eye = torch.eye(5)
    assert orthogonality(eye[:2], eye[2:]) == 0
    new = eye[:2].clone().requires_grad_()
    loss = orthogonality(new, torch.empty(0, 5))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert new.grad is not None
    assert not new.grad.any()
