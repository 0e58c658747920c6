"""Floating-point operations of what really ran, after torch's `FlopCounterMode`.

One multiply-add is two FLOPs, as torch counts. Matrix products, convolutions and attention count, forward and backward;
element-wise work, normalisation, pooling, interpolation and the optimizer do not. Under an active counter a compiled
module runs uncompiled (torch's own rule for dispatch modes), so it is counted like any other.

The formulas here stand in for those of torch 2.4 to 2.14, where the weight gradient of a grouped convolution is
multiplied by the group count (backward/forward is 40 for EfficientNet-lite0, where 2 is true) and attention on the CPU,
matrix-vector products and pairwise distances count as zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
Shape = Sequence[int]

UNCOUNTED = (
    "_linalg_svd",
    "linalg_qr",
    "_linalg_eigh",
    "linalg_eig",
    "linalg_lstsq",
    "linalg_inv_ex",
    "_linalg_solve_ex",
    "linalg_cholesky_ex",
    "linalg_lu_factor_ex",
    "mkldnn_rnn_layer",
    "_cudnn_rnn",
    "_trilinear",
    "_fft_r2c",
    "_fft_c2r",
    "_fft_c2c",
)
"""Operators of aten that cost much and have no formula: they add nothing, and their names are noted."""


def convolution_backward_flops(
    grad_out: Shape,
    x: Shape,
    w: Shape,
    bias: Any,  # noqa: ANN401  sizes, or nothing
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    transposed: bool,
    output_padding: Shape,
    groups: int,
    output_mask: Sequence[bool],
    **_: object,
) -> int:
    """Return the forward's cost, once for each of input and weight in the output mask.

    The forward costs 2 B prod(w) prod(s), where w is (out, in / groups, ...) and s the output's spatial size (the
    input's, if transposed); both gradients are convolutions over the same triples of input, weight and output.
    """
    forward = 2 * grad_out[0] * prod(w) * prod((x if transposed else grad_out)[2:])
    return forward * (bool(output_mask[0]) + bool(output_mask[1]))


def attention_flops(q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    """Return 2 B H Q K (D + E) for q (B, H, Q, D), k (B, H, K, D) and v (B, H, K, E): the scores and their mean of v."""
    return 2 * prod(q[:3]) * k[2] * (q[3] + v[3])


def attention_backward_flops(grad_out: Shape, q: Shape, k: Shape, v: Shape, *_: object, **__: object) -> int:
    """Return 2 B H Q K (3 D + 2 E): the scores again, then the gradients of v, the weights, q and k."""
    return 2 * prod(q[:3]) * k[2] * (3 * q[3] + 2 * v[3])


def matrix_vector_flops(a: Shape, x: Shape, *_: object, **__: object) -> int:
    """Return 2 M K for a (M, K) and x (K,), or 2 K for two vectors."""
    return 2 * prod(a)


def added_matrix_vector_flops(y: Shape, a: Shape, x: Shape, *_: object, **__: object) -> int:
    """Return 2 M K for y (M,) + a (M, K) x (K,)."""
    return 2 * prod(a)


def pairwise_flops(a: Shape, b: Shape, *_: object, **__: object) -> int:
    """Return 2 B M N D for the distances of a (B, M, D) and b (B, N, D): the cost of their matrix product."""
    return 2 * prod(a) * b[-2]


FORMULAS: dict[Any, Callable[..., int]] = {
    aten.convolution_backward: convolution_backward_flops,
    aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
    aten.mv: matrix_vector_flops,
    aten.dot: matrix_vector_flops,
    aten.vdot: matrix_vector_flops,
    aten.addmv: added_matrix_vector_flops,
    aten._euclidean_dist: pairwise_flops,
    aten._cdist_forward: pairwise_flops,
}
"""Cost by operator, from the shapes of its arguments; passed to `FlopCounterMode` as ``custom_mapping``."""


class FlopCounter:
    """Counts the FLOPs of everything that this thread, and its backward passes, run between `start` and `stop`.

    Args:
        uncounted: Set to which the names of `UNCOUNTED` operators that ran are added.
    """

    def __init__(self, uncounted: set[str]) -> None:
        self._uncounted = uncounted
        self._mode: FlopCounterMode | None = None
        self._open = ExitStack()

    def _note(self, name: str) -> Callable[..., int]:
        def formula(*_: object, **__: object) -> int:
            self._uncounted.add(name)
            return 0

        return formula

    @property
    def running(self) -> bool:
        """Whether operators are being counted now."""
        return self._mode is not None

    @property
    def total(self) -> int:
        """FLOPs since `start`; 0 while stopped."""
        return 0 if self._mode is None else self._mode.get_total_flops()

    def start(self) -> None:
        """Begin at 0."""
        notes = {getattr(aten, name): self._note(name) for name in UNCOUNTED}
        self._mode = FlopCounterMode(display=False, custom_mapping={**FORMULAS, **notes})
        # The fused inference path of nn.MultiheadAttention and nn.TransformerEncoderLayer is one operator without a
        # formula; without it they run the operators that have one.
        self._open.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        # The counter follows modules by global hooks; that they see a compiled module twice does not matter here.
        self._open.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
        # Up to torch 2.8 at least, a module that the compiler first meets under a counter is never compiled afterwards.
        self._open.enter_context(torch.compiler.set_stance("force_eager"))
        self._open.enter_context(self._mode)

    def stop(self) -> None:
        """End counting; operators run at their usual speed again."""
        self._open.close()
        self._mode = None
