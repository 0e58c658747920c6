from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from continual_df.losses.candidate_pool import CandidatePool
from continual_df.losses.pair import pair_loss
from continual_df.losses.voting import VoteRule, global_local_vote, local_similarity

RULES: tuple[VoteRule, ...] = get_args(VoteRule)

# two labelled and three unlabelled rows, two patches of two features each
GLOBAL = torch.tensor([[1.0, 0], [0, 1], [2, 1], [1, 3], [3, 1]])
LOCAL = torch.tensor(
    [  # columns are patches, as worked out by hand
        [[1.0, 2], [0, 1]],
        [[0, 1], [1, 1]],
        [[2, 0], [1, 3]],
        [[1, 1], [2, 0]],
        [[3, 1], [1, 1]],
    ]
).transpose(1, 2)
CLASS = torch.tensor([0, 1, -1, -1, -1])


def made_up(seed: int, num: int = 12, patches: int = 4, size: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    class_B = torch.cat([torch.randint(3, (num // 2,), generator=draw), torch.full((num - num // 2,), -1)])
    return (
        torch.randn(num, size, generator=draw),
        torch.randn(num, patches, size, generator=draw) * torch.rand(num, patches, 1, generator=draw),
        class_B,
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def naive_local(local_NPD: np.ndarray) -> np.ndarray:
    num, patches, _ = local_NPD.shape
    found = np.zeros((num, num))
    for i in range(num):
        norm_P = np.array([np.linalg.norm(local_NPD[i, p]) for p in range(patches)])
        for j in range(num):
            for p in range(patches):
                weight = norm_P[p] / np.sqrt((norm_P**2).sum())
                found[i, j] += weight * cosine(local_NPD[i, p], local_NPD[j, p])
    return found


def naive_vote(
    global_ND: np.ndarray, local_NPD: np.ndarray, class_B: list[int], rule: str, unit_N: list[int] | None = None
) -> dict[int, tuple[int, bool]]:
    """Candidate and vote of every unlabelled row of the batch, which comes first of all N rows, from the words of the rules."""
    num, num_all, s_l, votes = len(class_B), len(global_ND), naive_local(local_NPD), {}
    unit_N = list(range(num_all)) if unit_N is None else unit_N
    s_g = [[cosine(a, b) for b in global_ND] for a in global_ND]
    labelled = [j for j in range(num) if class_B[j] >= 0]
    for i in range(num):
        if class_B[i] >= 0:
            continue
        others = [j for j in range(num_all) if unit_N[j] != unit_N[i]]
        candidate = max(others, key=lambda j: s_g[i][j])
        column = [s_l[j, candidate] for j in range(num) if unit_N[j] != unit_N[candidate]]
        passed = {
            "value": max(s_l[i, j] for j in others) >= sorted([*column, s_l[candidate, candidate]])[-2],
            "index": max(others, key=lambda j: s_l[i, j]) == candidate,
            "nach": s_g[i][candidate] >= sorted(s_g[candidate][j] for j in labelled)[-2],
            "off": True,
        }[rule]
        votes[i] = candidate, bool(passed)
    return votes


def test_local_similarity_of_the_worked_example() -> None:
    expected = [0.893091, 0.834208, 1.399398, 0.478091, 1.158555]
    assert local_similarity(LOCAL, LOCAL)[2].numpy() == pytest.approx(expected, abs=1e-6)


def test_released_rule_of_the_worked_example() -> None:
    positive_B, accepted_B = global_local_vote(GLOBAL, LOCAL, CLASS, "value")
    # row 2: candidate 4 is its best local partner, and yet 1.158555 < 1.253324; row 3: a tie at 1.105172 passes;
    # row 4: candidate 2 passes with 1.253324 >= 1.192371, although its best local partner is 0
    assert positive_B.tolist() == [0, 1, 2, 1, 2]
    assert accepted_B.tolist() == [True, True, False, True, True]


def test_drawn_rule_of_the_worked_example() -> None:
    positive_B, accepted_B = global_local_vote(GLOBAL, LOCAL, CLASS, "index")
    assert positive_B.tolist() == [0, 1, 4, 1, 4]
    assert accepted_B.tolist() == [True, True, True, True, False]


def test_nach_rule_of_the_worked_example() -> None:
    positive_B, accepted_B = global_local_vote(GLOBAL, LOCAL, CLASS, "nach")
    # two are labelled, so the second of candidate 4 is its lesser cosine to (1, 0) and (0, 1): 1 / sqrt 10, of candidate 1
    # it is 0, and of candidate 2 it is 1 / sqrt 5; all candidates are nearer than that
    assert positive_B.tolist() == [0, 1, 4, 1, 2]
    assert accepted_B.all()


def test_nach_rule_refuses_what_is_further_than_the_second_labelled() -> None:
    # row 3 wants row 2 at 45 degrees, whose labelled ones are at 30 and 40: refused; row 2 wants row 0 at 30 degrees, whose
    # labelled ones are itself and one at 10: refused, too
    angle_B = torch.deg2rad(torch.tensor([30.0, 40.0, 0.0, -45.0]))
    global_BD = torch.stack([angle_B.cos(), angle_B.sin()], dim=1)
    local_BPD = torch.rand(4, 1, 2)
    class_B = torch.tensor([0, 0, -1, -1])
    assert global_local_vote(global_BD, local_BPD, class_B, "nach")[1].tolist() == [True, True, False, False]
    one_label = torch.tensor([0, -1, -1, -1])
    assert global_local_vote(global_BD, local_BPD, one_label, "nach")[1].all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(8))
def test_votes_are_those_of_the_loops(rule: VoteRule, seed: int) -> None:
    global_BD, local_BPD, class_B = made_up(seed)
    positive_B, accepted_B = global_local_vote(global_BD, local_BPD, class_B, rule)
    votes = naive_vote(global_BD.double().numpy(), local_BPD.double().numpy(), class_B.tolist(), rule)
    assert {i: bool(accepted_B[i]) for i in votes} == {i: passed for i, (_, passed) in votes.items()}
    assert {i: int(positive_B[i]) for i in votes} == {i: j if passed else i for i, (j, passed) in votes.items()}


@pytest.mark.parametrize("rule", ["value", "index", "off"])
@pytest.mark.parametrize("seed", range(8))
def test_votes_among_units_and_a_pool_are_those_of_the_loops(rule: VoteRule, seed: int) -> None:
    global_ND, local_NPD, class_N = made_up(seed, num=30)
    class_B, unit_N = class_N[9:21], torch.arange(30) % 7
    global_BD, local_BPD, unit_B = global_ND[:12], local_NPD[:12], unit_N[:12]
    pool = CandidatePool(global_ND[12:], local_NPD[12:], unit_N[12:], torch.arange(18))
    positive_B, accepted_B = global_local_vote(global_BD, local_BPD, class_B, rule, unit_B=unit_B, pool=pool)
    everything = global_ND.double().numpy(), local_NPD.double().numpy()
    votes = naive_vote(*everything, class_B.tolist(), rule, unit_N.tolist())
    assert {i: bool(accepted_B[i]) for i in votes} == {i: passed for i, (_, passed) in votes.items()}
    assert {i: int(positive_B[i]) for i in votes} == {i: j if passed else i for i, (j, passed) in votes.items()}
    assert (positive_B[class_B >= 0] < 12).all()  # labelled rows have partners in the batch


@pytest.mark.parametrize("rule", RULES)
def test_a_row_of_the_same_unit_is_no_partner_however_near_it_is(rule: VoteRule) -> None:
    global_BD, local_BPD, _ = made_up(0, num=6)
    global_BD[1], local_BPD[1] = global_BD[0], local_BPD[0]
    class_B, unit_B = torch.full((6,), -1), torch.tensor([7, 7, 1, 2, 3, 4])
    assert global_local_vote(global_BD, local_BPD, class_B, rule)[0][:2].tolist() == [1, 0]
    assert (global_local_vote(global_BD, local_BPD, class_B, rule, unit_B=unit_B)[0][0] != 1).all()
    alone = global_local_vote(global_BD, local_BPD, class_B, rule, unit_B=torch.zeros(6))
    assert alone[0].tolist() == list(range(6))
    assert not alone[1].any()


def test_a_pool_without_units_and_one_for_nach_are_refused() -> None:
    pool = CandidatePool(GLOBAL, LOCAL, torch.arange(5), torch.arange(5))
    with pytest.raises(ValueError, match="rule 'nach' votes within a batch"):
        global_local_vote(GLOBAL, LOCAL, CLASS, "nach", unit_B=torch.arange(5), pool=pool)
    with pytest.raises(ValueError, match="a pool needs unit_B"):
        global_local_vote(GLOBAL, LOCAL, CLASS, pool=pool)


def test_a_pool_keeps_the_newest_rows_first() -> None:
    old, new = (CandidatePool(*(torch.arange(3) + first for _ in range(4))) for first in (0, 10))
    pool = new.before(old.before(None, 2), 4)
    assert [column.tolist() for column in pool] == [[10, 11, 12, 0]] * 4


def test_a_labelled_row_gets_each_other_row_of_its_class_at_equal_odds() -> None:
    class_B = torch.tensor([0, 0, 0, 0, 1, 2, 2, -1])
    global_BD, local_BPD, _ = made_up(0, num=8)
    draw = torch.Generator().manual_seed(0)
    count_BB = torch.zeros(8, 8)
    for _ in range(3000):
        positive_B, accepted_B = global_local_vote(global_BD, local_BPD, class_B, "value", draw)
        count_BB[torch.arange(8), positive_B] += 1
        assert accepted_B[:7].all()
    share_BB = count_BB / 3000
    expected = torch.zeros(7, 8)
    expected[:4, :4] = (1 - torch.eye(4)) / 3
    expected[4, 4] = expected[5, 6] = expected[6, 5] = 1
    assert (share_BB[:7] - expected).abs().max() < 0.04


def test_the_same_generator_draws_the_same_pairs() -> None:
    global_BD, local_BPD, _ = made_up(0, num=40)
    class_B = torch.arange(40) % 4
    draws = [
        global_local_vote(global_BD, local_BPD, class_B, "off", torch.Generator().manual_seed(s))[0] for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_unlabelled_rows_may_be_paired_with_labelled_ones_and_never_with_themselves_when_accepted() -> None:
    for seed in range(10):
        global_BD, local_BPD, class_B = made_up(seed)
        positive_B, accepted_B = global_local_vote(global_BD, local_BPD, class_B, "off")
        assert accepted_B.all()
        assert (positive_B[class_B < 0] != torch.arange(12)[class_B < 0]).all()
    assert (positive_B[class_B < 0] < 6).any()


def test_local_similarity_is_not_symmetric_and_each_row_is_most_like_itself() -> None:
    _, local_BPD, _ = made_up(3)
    similarity_BB = local_similarity(local_BPD, local_BPD)
    assert similarity_BB.numpy() == pytest.approx(naive_local(local_BPD.double().numpy()), abs=1e-5)
    assert not torch.allclose(similarity_BB, similarity_BB.T, atol=1e-3)
    assert torch.equal(similarity_BB.argmax(dim=1), torch.arange(12))
    own_B = similarity_BB.diagonal()
    assert (own_B >= 1 - 1e-6).all()
    assert (own_B <= 2 + 1e-6).all()  # the root of four patches


def test_local_similarity_does_not_change_with_the_scale_of_all_features() -> None:
    _, local_BPD, _ = made_up(4)
    torch.testing.assert_close(local_similarity(local_BPD * 37, local_BPD * 37), local_similarity(local_BPD, local_BPD))


def test_scaling_one_patch_of_a_row_changes_what_that_row_sees_only() -> None:
    _, local_BPD, _ = made_up(5)
    scaled_BPD = local_BPD.clone()
    scaled_BPD[7, 2] *= 9
    before, after = local_similarity(local_BPD, local_BPD), local_similarity(scaled_BPD, scaled_BPD)
    others = torch.arange(12) != 7
    torch.testing.assert_close(after[others], before[others])
    assert not torch.allclose(after[7], before[7], atol=1e-2)


def test_without_weights_it_is_the_sum_of_cosines() -> None:
    _, local_BPD, _ = made_up(6)
    expected = torch.nn.functional.cosine_similarity(local_BPD[:, None], local_BPD[None], dim=3).sum(dim=2)
    torch.testing.assert_close(local_similarity(local_BPD, local_BPD, weighted=False), expected)


@pytest.mark.parametrize("rule", RULES)
def test_no_gradient_reaches_the_features(rule: VoteRule) -> None:
    global_BD, local_BPD, class_B = made_up(0)
    global_BD.requires_grad_()
    local_BPD.requires_grad_()
    logit_BK = (global_BD @ torch.randn(5, 3)).requires_grad_()
    positive_B, accepted_B = global_local_vote(global_BD, local_BPD, class_B, rule)
    assert not positive_B.requires_grad
    assert not accepted_B.requires_grad
    pair_loss(logit_BK, logit_BK, positive_B).sum().backward()  # type: ignore[no-untyped-call]
    assert local_BPD.grad is None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("class_B", [[-1], [0], [-1, -1], [0, -1], [0, 1], [0, 0, 0]])
def test_batches_of_any_make_up_are_voted_on(rule: VoteRule, class_B: list[int]) -> None:
    num = len(class_B)
    global_BD, local_BPD, _ = made_up(0)
    positive_B, accepted_B = global_local_vote(global_BD[:num], local_BPD[:num], torch.tensor(class_B), rule)
    assert positive_B.shape == accepted_B.shape == (num,)
    if num == 1:
        assert positive_B.tolist() == [0]
        assert accepted_B.tolist() == [class_B[0] >= 0]


@pytest.mark.parametrize("rule", RULES)
def test_votes_do_not_depend_on_autocast_or_on_empty_patches(rule: VoteRule) -> None:
    global_BD, local_BPD, class_B = made_up(1)
    local_BPD[3, 1] = 0
    local_BPD[8] = 0
    plain = global_local_vote(global_BD, local_BPD, class_B, rule, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = global_local_vote(global_BD, local_BPD, class_B, rule, torch.Generator().manual_seed(0))
    assert torch.equal(plain[0], half[0])
    assert torch.equal(plain[1], half[1])


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule must be one of value, index, nach, off, got 'best'"):
        global_local_vote(GLOBAL, LOCAL, CLASS, "best")  # type: ignore[arg-type]
