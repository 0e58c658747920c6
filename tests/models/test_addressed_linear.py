from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from continual_df.models.class_head import ClassHead
from continual_df.models.heads import TaskHeads


def grown_class_head(seed: int, draws: int) -> Tensor:
    torch.manual_seed(seed)
    head = ClassHead(4)
    head.grow(2)
    torch.rand(draws)
    head.grow(3)
    return head.weight_CD


def grown_task_heads(seed: int, draws: int) -> Tensor:
    torch.manual_seed(seed)
    heads = TaskHeads(4)
    heads.grow()
    torch.rand(draws)
    heads.grow()
    return heads.weight_TCD.flatten(0, 1)


@pytest.mark.parametrize("grown", [grown_class_head, grown_task_heads])
def test_what_a_task_adds_depends_on_the_seed_and_not_on_what_was_drawn_since(
    grown: Callable[[int, int], Tensor],
) -> None:
    weight = grown(0, 0)
    assert torch.equal(weight, grown(0, 5))
    assert not torch.equal(weight, grown(1, 0))
    assert not torch.equal(weight[-1], weight[0])
    assert weight.abs().max() <= 4**-0.5  # as nn.Linear does
