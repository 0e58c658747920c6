from __future__ import annotations

import torch
from torch import nn

from continual_df.models.weight_store import WeightStore


def test_what_is_kept_is_a_copy_and_travels_with_the_state_dict() -> None:
    module, store, other = nn.Linear(2, 3), WeightStore(), WeightStore()
    store.keep(module.state_dict())
    before = module.weight.detach().clone()
    nn.init.zeros_(module.weight)
    store.keep(module.state_dict())
    other.load_state_dict(store.state_dict())
    assert torch.equal(other.kept[0]["weight"], before)
    assert torch.equal(other.kept[1]["weight"], module.weight)
    assert other.num_bytes == 2 * 4 * (2 * 3 + 3)
