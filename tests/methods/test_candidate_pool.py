"""CPL with partners from earlier batches, and from other groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from continual_df.task import Batch
from tests.made_up_tasks import extract_of, make_rows, make_tasks, train_step
from tests.open_world_methods import make, mixed_batch


def again(batch: Batch, sample: int = 0, group: int = 0) -> Batch:
    """Return the same images as other samples of other groups."""
    other = batch.copy()
    other["sample"], other["group"] = batch["sample"] + sample, batch["group"] + group
    return other


def partners(method: Any) -> list[int]:
    assert method.pairs is not None
    return list(method.pairs.partner_U.tolist())


def test_the_same_picture_in_an_earlier_batch_is_the_nearest_there_is() -> None:
    method = make(vote="off", pool=64)
    batch = mixed_batch(method)
    method.losses(batch)
    method.losses(again(batch, sample=100, group=100))
    assert partners(method) == [6, 7, 8, 9]


def test_a_row_never_finds_its_own_earlier_self_and_with_groups_none_of_its_group() -> None:
    for across_groups, other in ((False, {"group": 100}), (True, {"sample": 100})):
        method = make(vote="off", pool=64, across_groups=across_groups)
        batch = mixed_batch(method)
        method.losses(batch)
        method.losses(again(batch, **other))
        assert all(partner % 100 != 6 + place for place, partner in enumerate(partners(method)))


@pytest.mark.parametrize("settings", [{"vote": "off"}, {"vote": "index", "scales": [1]}])
def test_groups_bar_partners_within_a_batch_too(settings: dict[str, Any]) -> None:
    method = make(across_groups=True, **settings)
    batch = mixed_batch(method)
    batch["group"][:] = 3
    method.losses(batch)
    assert not method.pairs.paired_U.any()
    batch["group"][0] = 4
    method.losses(batch)
    assert partners(method) == [0, 0, 0, 0]


def test_a_partner_from_the_pool_says_what_the_open_heads_of_now_make_of_its_features() -> None:
    method = make(vote="off", pool=64, pair=1.0)
    batch = mixed_batch(method)
    unlabelled: Any = {name: value[6:] for name, value in batch.items()}  # type: ignore[index]
    method.losses(unlabelled)
    then_UD, weight_KD = method.earlier.global_MD, method.head.classifier.weight_KD
    torch.nn.init.normal_(weight_KD)
    method.open_K[-1] = False  # merged into another
    terms = method.losses(again(unlabelled, sample=100, group=100))
    assert partners(method) == [6, 7, 8, 9]
    p_UK = (then_UD @ weight_KD.T)[:, :-1].softmax(dim=1)  # the same images: now as then
    torch.testing.assert_close(terms["pair"], -(p_UK * p_UK).sum(dim=1).log().mean())
    (gradient_KD,) = torch.autograd.grad(terms["pair"], weight_KD, retain_graph=True)
    (expected_KD,) = torch.autograd.grad(-(p_UK * p_UK).sum(dim=1).log().mean(), weight_KD)
    torch.testing.assert_close(gradient_KD, expected_KD)  # both members teach the heads


def test_partners_from_the_pool_teach_over_several_steps_and_the_pool_stays_small() -> None:
    method = make(vote="index", pool=16)
    batch = mixed_batch(method)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad])
    for step in range(4):
        terms = train_step(method, optimizer, again(batch, 100 * step, 100 * step))
        assert torch.isfinite(terms["pair"])
        assert len(method.earlier.sample_M) == min(10 * (step + 1), 16)
    assert method.earlier.sample_M.tolist() == [*range(300, 310), *range(200, 206)]


def test_a_checkpoint_within_a_task_holds_the_pool_and_one_after_it_does_not() -> None:
    one, other = make(vote="index", pool=64), make(vote="index", pool=64)
    batch = mixed_batch(one)
    one.losses(batch)
    mixed_batch(other)  # begins the task
    other.load_state_dict(one.state_dict())
    losses = []
    for method in (one, other):
        torch.manual_seed(0)
        losses.append({name: value.item() for name, value in method.losses(again(batch, 100, 100)).items()})
    assert losses[0] == losses[1]
    (task,) = make_tasks(["a", "b"])
    one.end_task(task, make_rows(task), extract_of(one))
    assert one.earlier is None
    assert "global_MD" not in one.get_extra_state()


def test_a_negative_pool_and_one_with_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="pool must be at least 0, got -1"):
        make(pool=-1)
    with pytest.raises(ValueError, match="set pool to 0"):
        make(pool=8, scales=[1, 2])
