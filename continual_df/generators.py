"""The states of the random generators of a process, as tensors and plain values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

_cuda: Any = torch.cuda  # untyped functions in it


def generator_states() -> dict[str, Any]:
    """Return the states of the global generators of Python, numpy, torch and each CUDA device."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002  global by nature
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": _cuda.get_rng_state_all() if _cuda.is_initialized() else [],
    }


def set_generator_states(states: dict[str, Any]) -> None:
    """Bring all global generators into ``states``; CUDA devices that were not there keep theirs."""
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: _cuda.device_count()]):
        _cuda.set_rng_state(state, device)
