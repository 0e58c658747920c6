from __future__ import annotations

import torch

from continual_df.task import Rows, once


def test_of_rows_of_one_sample_the_first_stays_in_its_place() -> None:
    sample, task = torch.tensor([5, 2, 5, 7, 2]), torch.tensor([0, 0, 1, 1, 2])
    rows = Rows(sample, torch.zeros(5, dtype=torch.long), torch.zeros(5, dtype=torch.long), task)
    assert once(rows).sample.tolist() == [5, 2, 7]
    assert once(rows).task.tolist() == [0, 0, 1]
    assert once(Rows.empty()).num == 0
