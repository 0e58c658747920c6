from __future__ import annotations

import torch
from torch import nn

from continual_df.ledger import Ledger
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.heads import TaskHeads, fake_margin


def test_heads_are_registered_and_travel_in_a_state_dict() -> None:
    heads, other = TaskHeads(4), TaskHeads(4)
    for _ in range(6):
        heads.grow()
        other.grow()
    assert len(list(heads.parameters())) == 12
    other.load_state_dict(heads.state_dict())
    assert torch.equal(heads.weight_TCD, other.weight_TCD)
    assert heads.weight_TCD.shape == (6, 2, 4)


def test_every_head_sees_every_row() -> None:
    heads = TaskHeads(4)
    heads.grow()
    heads.grow()
    feature_BD = torch.rand(3, 4)
    logit_BTC = heads(feature_BD)
    assert logit_BTC.shape == (3, 2, 2)
    assert torch.allclose(logit_BTC[:, 1], feature_BD @ heads.heads[1].weight.T + heads.heads[1].bias)  # type: ignore[operator]


def test_the_fake_margin_is_fake_minus_real_or_the_one_logit() -> None:
    logit_BTC = torch.tensor([[[1.0, 4.0], [2.0, 0.0]]])
    assert fake_margin(logit_BTC).tolist() == [[3.0, -2.0]]
    assert fake_margin(logit_BTC[..., :1]).tolist() == [[1.0, 2.0]]


def test_a_frozen_copy_gets_no_gradient_and_keeps_its_batch_statistics() -> None:
    owner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    teacher = FrozenCopy(owner)
    both = nn.ModuleList([owner, teacher]).train()
    image = torch.randn(8, 3) * 5 + 2
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    (both[0](image) - teacher(image)).square().sum().backward()
    assert owner[0].weight.grad is not None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(value, before[key]) for key, value in teacher.state_dict().items())
    assert not torch.equal(owner[1].running_mean, before["module.1.running_mean"])  # type: ignore[arg-type]
    assert not any(module.training for module in teacher.modules())


def test_a_frozen_copy_is_charged_to_the_teacher() -> None:
    teacher = FrozenCopy(nn.Linear(4, 5, bias=False))
    with Ledger().activate() as ledger, ledger.phase("train"):
        teacher(torch.rand(3, 4))
    assert ledger.to_json()["tasks"][0]["phases"]["teacher"]["flops"] == 2 * 3 * 4 * 5
