from __future__ import annotations

import pytest
import torch

from continual_df.losses.confident_labels import confident_labels


def test_the_surest_rows_of_each_head_keep_it() -> None:
    # head 0: rows 0 (surest), 1, 4, 5; head 1: rows 2, 3 (surest)
    logit_NK = torch.tensor([[5.0, 0], [1, 0], [0, 1], [0, 2], [3, 0], [2, 0]])
    assert confident_labels(logit_NK, 0.5).tolist() == [0, -1, -1, 1, 0, -1]


def test_shares_are_rounded_up_so_that_no_head_in_use_goes_without() -> None:
    logit_NK = torch.tensor([[1.0, 0, 0]] * 30 + [[0, 1.0, 0]])
    label_N = confident_labels(logit_NK, 0.1)
    assert label_N[:30].tolist() == [0] * 3 + [-1] * 27  # equally sure: the first ones
    assert label_N[30] == 1


def test_a_share_of_one_labels_all_rows() -> None:
    logit_NK = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert confident_labels(logit_NK, 1.0).equal(logit_NK.argmax(dim=1))


def test_no_rows_have_no_labels() -> None:
    assert confident_labels(torch.empty(0, 3), 0.5).shape == (0,)


@pytest.mark.parametrize("share", [0.0, 1.1, -0.5])
def test_a_share_outside_of_its_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        confident_labels(torch.zeros(1, 2), share)
