from __future__ import annotations

import pytest
import torch

from continual_df.models.growing_head import GrowingHead
from continual_df.models.merged_heads import heads_to_keep, merge_heads


@pytest.mark.parametrize(
    ("count", "kept"),
    [
        ([50, 40, 10, 0, 0], [0, 1, 2]),  # 90 do not cover 95.44 of 100, 100 do; heads of no use go
        ([1, 1, 1, 1], [0, 1, 2, 3]),
        ([0, 7, 0], [1]),
        ([0, 0, 0], [0, 1, 2]),  # nothing is known of their use
        ([5], [0]),
    ],
)
def test_heads_that_cover_the_rows_are_kept(count: list[int], kept: list[int]) -> None:
    assert heads_to_keep(torch.tensor(count)).nonzero().flatten().tolist() == kept


def test_the_tail_is_followed_while_its_heads_are_above_its_mean_or_after_a_large_step() -> None:
    # 960 of 1000 are covered by two; tail 460, 20, 12, 8: mean 125, mean step 150.7; 20 is 440 below, 12 only 8
    assert heads_to_keep(torch.tensor([12, 500, 8, 460, 20])).tolist() == [False, True, False, True, True]
    # 400 of 1000 are a third; the tail is all, mean 200, mean step 90: 260 and 200 reach the mean, 100 is 100 below, 40 only 60
    assert heads_to_keep(torch.tensor([400, 260, 200, 100, 40]), 0.3).tolist() == [True, True, True, True, False]


def test_a_coverage_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"coverage must be within \(0, 1\], got 0"):
        heads_to_keep(torch.tensor([1]), 0)


def test_dropped_heads_go_into_the_kept_novel_one_of_the_nearest_direction() -> None:
    weight_KD = torch.tensor([[0.0, 1.0], [1.0, 0.1], [0.0, -1.0], [0.6, 0.8], [0.8, -0.6], [2.0, 0.0]])
    # known: 0 and 1; novel heads 2 and 5 are kept; 3 is nearest to head 0 of all, but among kept novel ones to 5; 4 to 5, too
    count_K = torch.tensor([0, 0, 60, 0, 0, 40])
    merged = merge_heads(weight_KD, count_K, 2)
    assert merged.into_K.tolist() == [0, 1, 2, 3, 3, 3]
    assert merged.keep_K.tolist() == [True, True, True, False, False, True]
    mean_D = (weight_KD[3] + weight_KD[4] + weight_KD[5]) / 3
    expected = torch.stack([*weight_KD[:3], mean_D / mean_D.norm() * 2])
    torch.testing.assert_close(merged.weight_MD, expected)


def test_heads_that_nothing_is_merged_into_stay_as_they_are_and_a_head_takes_the_new_ones() -> None:
    torch.manual_seed(0)
    head, feature_BD = GrowingHead(5, 10), torch.randn(4, 5)
    before = head(feature_BD)
    count_K = torch.tensor([0, 0, 30, 0, 30, 30, 0, 0, 0, 0])
    merged = merge_heads(head.weight_KD, count_K, 2)
    head.set_weights(merged.weight_MD)
    assert head.num_heads == 5
    assert not merged.weight_MD.requires_grad
    alone = [old for old in range(10) if (merged.into_K == merged.into_K[old]).sum() == 1]
    assert set(alone) >= {0, 1}
    torch.testing.assert_close(head(feature_BD)[:, merged.into_K[alone]], before[:, alone], rtol=0, atol=0)


def test_without_novel_heads_nothing_changes() -> None:
    weight_KD = torch.randn(3, 4)
    merged = merge_heads(weight_KD, torch.tensor([4, 0, 2]), 3)
    assert torch.equal(merged.weight_MD, weight_KD)
    assert merged.into_K.tolist() == [0, 1, 2]
