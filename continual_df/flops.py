"""Floating-point operations of what really ran, by the formulas of torch's ``flop_counter``.

One multiply-add is two FLOPs, as torch counts. Matrix products, convolutions and attention count, forward and backward;
element-wise work, normalisation, pooling, interpolation and the optimizer do not. Under an active counter a compiled
module runs uncompiled (torch's own rule for dispatch modes), so it is counted like any other.

The formulas here stand in for those of torch 2.4 to 2.14, where the weight gradient of a grouped convolution is
multiplied by the group count (backward/forward is 40 for EfficientNet-lite0, where 2 is true) and attention on the CPU,
matrix-vector products and pairwise distances count as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper

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
"""Cost by operator, from the shapes of its arguments, in place of those of torch."""


@cache
def is_composite(operator: Any) -> bool:  # noqa: ANN401  an OpOverload
    """Return whether an operator is made of others, as which it runs but under ``torch.inference_mode``."""
    kind = torch._C.DispatchKey.CompositeImplicitAutograd
    return operator.namespace != "prim" and torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), kind)


class CountingMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums what operators cost while it is entered.

    Differs from torch's ``FlopCounterMode``: it follows no modules and takes apart what hides other operators alone, which
    makes a counted step several times as fast.

    Args:
        formulas: Cost by operator, from its arguments and ``out_val``.
    """

    def __init__(self, formulas: Mapping[Any, Callable[..., int]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._formulas = formulas
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        formula = self._formulas.get(func._overloadpacket)
        if formula is None and is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=out))
        return out


class FlopCounter:
    """Counts the FLOPs of everything that this thread, and its backward passes, run between `start` and `stop`.

    Args:
        uncounted: Set to which the names of `UNCOUNTED` operators that ran are added.
    """

    def __init__(self, uncounted: set[str]) -> None:
        own = FORMULAS | {getattr(aten, name): self._note(name) for name in UNCOUNTED}
        self._formulas = flop_registry | {operator: shape_wrapper(formula) for operator, formula in own.items()}  # type: ignore[no-untyped-call]
        self._uncounted = uncounted
        self._mode: CountingMode | None = None
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
        return 0 if self._mode is None else self._mode.total

    def start(self) -> None:
        """Begin at 0."""
        self._mode = CountingMode(self._formulas)
        # The fused inference path of nn.MultiheadAttention and nn.TransformerEncoderLayer is one operator without a
        # formula; without it they run the operators that have one.
        self._open.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        # Up to torch 2.8 at least, a module that the compiler first meets under a counter is never compiled afterwards.
        self._open.enter_context(torch.compiler.set_stance("force_eager"))
        self._open.enter_context(self._mode)

    def stop(self) -> None:
        """End counting; operators run at their usual speed again."""
        self._open.close()
        self._mode = None
