from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.losses.confidence_cells import NUM_CELLS, cell_distance, cell_sums


def naive_means(feature: np.ndarray, logit: np.ndarray, label: np.ndarray) -> dict[int, np.ndarray]:
    """Return the mean feature of each cell that has rows."""
    cells: dict[int, list[np.ndarray]] = {}
    for f, s, y in zip(feature, logit, label, strict=True):
        p = 1 / (1 + np.exp(-s))
        p = p if y == 1 else 1 - p
        for number, low in enumerate([0.5, 0.6, 0.7, 0.8, 0.9]):
            if low < p <= low + 0.1 + 1e-12:
                cells.setdefault(5 * int(y) + number, []).append(f)
    return {cell: np.mean(rows, axis=0) for cell, rows in cells.items()}


def some_rows(seed: int, num: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, 3)), rng.normal(scale=2, size=num), rng.integers(0, 2, num)


def test_rows_that_are_called_right_are_added_up_by_class_and_confidence() -> None:
    rows = some_rows(0)
    sum_KD, count_K = cell_sums(*(torch.from_numpy(x) for x in rows))
    expected = naive_means(*rows)
    assert set(count_K.nonzero().flatten().tolist()) == set(expected)
    assert 0 < count_K.sum() < 60  # some are called wrong
    for cell, mean in expected.items():
        np.testing.assert_allclose((sum_KD[cell] / count_K[cell]).numpy(), mean, rtol=1e-10)


@pytest.mark.parametrize(
    ("probability", "cell"), [(0.5, None), (0.55, 0), (0.65, 1), (0.75, 2), (0.85, 3), (0.95, 4), (1.0, 4)]
)
@pytest.mark.parametrize("label", [0, 1])
def test_a_row_is_in_the_bin_of_its_own_class(probability: float, cell: int | None, label: int) -> None:
    logit = torch.logit(torch.tensor([probability])) * (1 if label else -1)
    _, count_K = cell_sums(torch.ones(1, 2), logit, torch.tensor([label]))
    expected = torch.zeros(NUM_CELLS)
    if cell is not None:
        expected[5 * label + cell] = 1
    assert torch.equal(count_K, expected)


def test_the_distance_is_that_of_means_in_cells_that_both_have() -> None:
    batch, bank = some_rows(1, 8), some_rows(2, 12)
    own, others = naive_means(*batch), naive_means(*bank)
    shared = own.keys() & others.keys()
    assert shared not in (own.keys(), others.keys())
    expected = sum(np.mean((own[cell] - others[cell]) ** 2) for cell in shared)
    sums = [value for rows in (batch, bank) for value in cell_sums(*(torch.from_numpy(x) for x in rows))]
    assert cell_distance(*sums).item() == pytest.approx(expected)


def test_where_no_row_is_called_right_the_distance_is_zero_and_still_has_a_gradient() -> None:
    feature_BD = torch.rand(3, 2, requires_grad=True)
    sums = cell_sums(feature_BD, torch.full((3,), -4.0), torch.ones(3, dtype=torch.long))
    distance = cell_distance(*sums, torch.ones(NUM_CELLS, 2), torch.ones(NUM_CELLS))
    distance.backward()  # type: ignore[no-untyped-call]
    assert distance.item() == 0
    assert torch.equal(feature_BD.grad, torch.zeros(3, 2))  # type: ignore[arg-type]
