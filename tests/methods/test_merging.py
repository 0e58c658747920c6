"""Novel heads of little use, which are merged while a method trains."""

from __future__ import annotations

import pytest
import torch

from tests.made_up_tasks import make_tasks
from tests.open_world_methods import make, mixed_batch


def test_novel_heads_of_little_use_are_merged_and_do_not_come_back_in_the_task() -> None:
    method = make(novel=5, merge_from=0)
    batch = mixed_batch(method)
    method.losses(batch)
    method.used_K.copy_(torch.tensor([9.0, 9, 9, 40, 0, 0, 50, 0]))
    before_KD = method.head.classifier.weight_KD.detach().clone()
    method.on_train_epoch_end()
    assert method.open_K.tolist() == [True] * 3 + [True, False, False, True, False]
    after_KD = method.head.classifier.weight_KD.detach()
    assert torch.equal(after_KD[:3], before_KD[:3])
    assert not torch.equal(after_KD[[3, 6]], before_KD[[3, 6]])
    method.losses(batch)
    assert method.used_K[[4, 5, 7]].sum() == 0
    probability_BK = method.eval()(torch.rand(9, 3, 16, 16)).method_logits.softmax(dim=1)
    assert (probability_BK[:, [4, 5, 7]] == 0).all()
    method.used_K.copy_(torch.tensor([0.0, 0, 0, 30, 0, 0, 30, 0]))
    method.on_train_epoch_end()
    assert method.open_K.sum() == 5


def test_heads_that_were_merged_are_not_in_the_uniform_prior() -> None:
    method = make(novel=5)
    batch = mixed_batch(method)
    method.open_K[[4, 5, 7]] = False
    with torch.no_grad():
        method.head.classifier.weight_KD.zero_()  # all open heads alike, for all images
    assert float(method.losses(batch)["regulariser"].detach()) == pytest.approx(0, abs=1e-5)


def test_merged_heads_begin_the_next_task_anew() -> None:
    method = make(novel=3)
    first, second = make_tasks(["a", "b"], ["c"])
    method.begin_task(first)
    method.open_K[4] = False
    old_KD = method.head.classifier.weight_KD.detach().clone()
    method.begin_task(second)
    new_KD = method.head.classifier.weight_KD.detach()
    assert method.open_K.tolist() == [True] * 7
    assert torch.equal(new_KD[[0, 1, 2, 4, 6]], old_KD[[0, 1, 2, 3, 5]])
    others_KD = torch.cat([old_KD, new_KD[[0, 1, 2, 3, 4, 6]]])
    assert (new_KD[5] != others_KD).any(dim=1).all()  # neither its old weights nor those of any other head


def test_heads_stay_before_the_epoch_from_which_they_are_merged() -> None:
    method = make(novel=5, merge_from=1)
    method.losses(mixed_batch(method))
    method.used_K.zero_()[3] = 9
    method.on_train_epoch_end()
    assert method.open_K.all()
