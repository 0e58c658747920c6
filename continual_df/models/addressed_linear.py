"""Linear layers that are added while a stream goes on."""

from __future__ import annotations

import torch
from torch import nn

from continual_df.randomness import seed_at


def addressed_linear(num_inputs: int, num_outputs: int, *address: int) -> nn.Linear:
    """Return an `nn.Linear` with its usual initial values, drawn at ``address``: (seed, place among its like).

    What the global generators have come to when a task begins depends on the number of processes: with several, Lightning
    seeds them anew in each fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_at(*address))
        return nn.Linear(num_inputs, num_outputs)
