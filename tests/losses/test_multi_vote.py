from __future__ import annotations

import pytest
import torch
from torch import Tensor

from continual_df.losses.multi_vote import multi_vote
from continual_df.losses.voting import global_local_vote, global_similarity, nearest_other


def made_up(seed: int, num: int = 14) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor]:
    draw = torch.Generator().manual_seed(seed)
    scales = [torch.randn(num, patches, 6, generator=draw) for patches in (9, 25, 49)]
    bands = [torch.randn(num, 16, 6, generator=draw) for _ in range(3)]
    class_B = torch.tensor([0, 0, 1, 1, 2, 2] + [-1] * (num - 6))
    return torch.randn(num, 6, generator=draw), scales, bands, class_B


def by_words(similarity_BB: Tensor, candidate_B: Tensor) -> list[bool]:
    rows = [sorted(row)[-2] for row in similarity_BB.tolist()]
    columns = [sorted(column)[-2] for column in similarity_BB.T.tolist()]
    return [rows[i] >= columns[j] for i, j in enumerate(candidate_B.tolist())]


@pytest.mark.parametrize("seed", range(6))
def test_a_family_passes_by_one_of_its_maps_and_both_must_pass_for_a_pair(seed: int) -> None:
    global_BD, scales, bands, class_B = made_up(seed)
    found = multi_vote(global_BD, scales, bands, class_B)
    candidate_B = nearest_other(global_similarity(global_BD, global_BD), torch.eye(14, dtype=torch.bool))
    scale_votes = [global_local_vote(global_BD, scale, class_B)[1].tolist() for scale in scales]
    cosines = [torch.nn.functional.cosine_similarity(band[:, None], band[None], dim=3).sum(dim=2) for band in bands]
    band_votes = [by_words(cosine_BB, candidate_B) for cosine_BB in cosines]
    for i in range(6, 14):
        by_scale, by_band = any(vote[i] for vote in scale_votes), any(vote[i] for vote in band_votes)
        assert bool(found.both_B[i]) == (by_scale and by_band)
        assert bool(found.either_B[i]) == (by_scale or by_band)
        assert int(found.positive_B[i]) == (int(candidate_B[i]) if by_scale and by_band else i)


def test_one_scale_alone_votes_as_the_global_local_vote() -> None:
    global_BD, scales, _, class_B = made_up(0)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    positive_B, accepted_B = global_local_vote(global_BD, scales[0], class_B, "index", draws[0])
    found = multi_vote(global_BD, scales[:1], [], class_B, "index", draws[1])
    assert torch.equal(found.positive_B, positive_B)
    assert torch.equal(found.both_B, accepted_B)
    assert torch.equal(found.either_B, accepted_B)


def test_rows_of_one_unit_are_no_partners() -> None:
    global_BD, scales, bands, class_B = made_up(0)
    global_BD[7], unit_B = global_BD[6], torch.arange(14)
    alike = [maps[:1].expand(14, -1, -1) for maps in scales]  # all parts are the same: every candidate passes
    assert int(multi_vote(global_BD, alike, [], class_B).positive_B[6]) == 7
    unit_B[7] = 6
    assert int(multi_vote(global_BD, alike, [], class_B, unit_B=unit_B).positive_B[6]) not in (6, 7)
    alone = multi_vote(global_BD, scales, bands, class_B, unit_B=torch.zeros(14))
    assert alone.positive_B[6:].tolist() == list(range(6, 14))


def test_labelled_rows_are_paired_within_their_class() -> None:
    global_BD, scales, bands, class_B = made_up(1)
    found = multi_vote(global_BD, scales, bands, class_B)
    assert found.positive_B[:6].tolist() == [1, 0, 3, 2, 5, 4]
    assert found.both_B[:6].all()
    assert found.either_B[:6].all()


def test_no_map_at_all_is_refused() -> None:
    global_BD, _, _, class_B = made_up(0)
    with pytest.raises(ValueError, match="multi_vote needs at least one map"):
        multi_vote(global_BD, [], [], class_B)
