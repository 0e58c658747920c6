from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, scaled_dot_product_attention

from continual_df.flops import FlopCounter


def count(work: Callable[[], object]) -> int:
    counter = FlopCounter(set())
    counter.start()
    try:
        work()
        return counter.total
    finally:
        counter.stop()


def forward_and_backward(module: nn.Module, x: Tensor) -> tuple[int, int]:
    out: list[Tensor] = []
    forward = count(lambda: out.append(module(x)))
    return forward, count(lambda: torch.autograd.backward(out[0].float().square().sum()))


# (module, input, forward by hand): 2 x output elements x multiply-adds of each
CASES = [
    pytest.param(nn.Conv2d(3, 8, 3, padding=1), (4, 3, 16, 16), 2 * (4 * 8 * 256) * (3 * 9), id="dense"),
    pytest.param(nn.Conv2d(8, 8, 3, padding=1, groups=8), (4, 8, 16, 16), 2 * (4 * 8 * 256) * 9, id="depth-wise"),
    pytest.param(
        nn.Conv2d(8, 4, 3, stride=2, padding=1, groups=2), (4, 8, 16, 16), 2 * (4 * 4 * 64) * 36, id="grouped"
    ),
    pytest.param(nn.Conv1d(2, 6, 5, bias=False), (3, 2, 12), 2 * (3 * 6 * 8) * (2 * 5), id="one-dimensional"),
    # each of the 4 x 6 x 64 inputs is multiplied with 2 outputs x 4 taps
    pytest.param(nn.ConvTranspose2d(6, 4, 2, stride=2, groups=2), (4, 6, 8, 8), 2 * (4 * 6 * 64) * 8, id="transposed"),
    pytest.param(nn.Linear(10, 7), (5, 10), 2 * 5 * 7 * 10, id="linear"),
]


@pytest.mark.parametrize(("module", "shape", "expected"), CASES)
def test_backward_costs_twice_the_forward(module: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert forward_and_backward(module, torch.randn(shape, requires_grad=True)) == (expected, 2 * expected)


@pytest.mark.parametrize(("module", "shape", "expected"), CASES)
def test_frozen_input_costs_the_gradient_of_the_weight_only(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert forward_and_backward(module, torch.randn(shape)) == (expected, expected)


@pytest.mark.parametrize(("module", "shape", "expected"), CASES)
def test_frozen_weight_costs_the_gradient_of_the_input_only(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    module.requires_grad_(False)
    try:
        assert forward_and_backward(module, torch.randn(shape, requires_grad=True)) == (expected, expected)
    finally:
        module.requires_grad_(True)


def test_attention_on_the_cpu_by_hand() -> None:
    q = torch.randn(2, 4, 16, 8, requires_grad=True)
    k = torch.randn(2, 4, 10, 8, requires_grad=True)
    v = torch.randn(2, 4, 10, 8, requires_grad=True)
    product = 2 * (2 * 4) * (16 * 10 * 8)  # one of q k' and w v
    out: list[Tensor] = []
    assert count(lambda: out.append(scaled_dot_product_attention(q, k, v))) == 2 * product
    assert count(lambda: torch.autograd.backward(out[0].sum())) == 5 * product  # q k' again; gradients of v, w, q, k


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_attention_counts_the_same_without_gradients(mode: Callable[[], torch.no_grad]) -> None:
    q = torch.randn(2, 4, 16, 8)
    with mode():
        assert count(lambda: scaled_dot_product_attention(q, q, q)) == 2 * 2 * 8 * 16 * 16 * 8


def test_fused_inference_path_of_a_transformer_layer_counts_like_the_plain_one() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    projections = 2 * (2 * 5) * (8 * 24 + 8 * 8 + 2 * 8 * 16)
    with torch.no_grad():
        assert count(lambda: layer(x)) == projections + 2 * 2 * (2 * 2) * (5 * 5 * 4)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: torch.randn(4, 5) @ torch.randn(5), 2 * 4 * 5),
        (lambda: torch.randn(5) @ torch.randn(5), 2 * 5),
        (lambda: torch.addmv(torch.randn(4), torch.randn(4, 5), torch.randn(5)), 2 * 4 * 5),
        (lambda: torch.cdist(torch.randn(40, 8), torch.randn(30, 8)), 2 * 40 * 30 * 8),
        (lambda: torch.cdist(torch.randn(4, 8), torch.randn(3, 8)), 2 * 4 * 3 * 8),
        (lambda: torch.einsum("bi,bj->ij", torch.randn(3, 4), torch.randn(3, 5)), 2 * 3 * 4 * 5),
        (lambda: conv_transpose2d(torch.randn(1, 4, 4, 4), torch.randn(4, 2, 3, 3)), 2 * (4 * 16) * (2 * 9)),
    ],
)
def test_products_outside_of_layers(work: Callable[[], object], expected: int) -> None:
    assert count(work) == expected


def test_bf16_autocast_counts_like_float32() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 64, 2))
    x = torch.randn(2, 3, 8, 8)
    plain = forward_and_backward(module, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert forward_and_backward(module, x) == plain


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_module_counts_like_the_plain_one(in_place: bool) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 2))
    x = torch.randn(2, 3, 8, 8)
    plain = forward_and_backward(module, x)
    compiled: Any = module
    if in_place:
        module.compile(backend="aot_eager")
    else:
        compiled = torch.compile(module, backend="aot_eager")
    before = forward_and_backward(compiled, x)
    compiled(x).sum().backward()  # now the compiled code exists
    assert before == plain
    assert forward_and_backward(compiled, x) == plain


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t"])
def test_real_backbone_agrees_with_a_count_from_its_layers(name: str) -> None:
    model = timm.create_model(name, num_classes=2)
    costs: list[int] = []  # 2 x output elements x weights of one output channel, layer by layer

    def note(layer: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        costs.append(2 * out.numel() * layer.weight[0].numel())

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    model(torch.randn(2, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    forward, backward = forward_and_backward(model, torch.randn(2, 3, 64, 64))
    assert forward == sum(costs)
    assert backward == 2 * forward - costs[0]  # the images need no gradient


def test_operator_without_a_formula_is_named() -> None:
    uncounted: set[str] = set()
    counter = FlopCounter(uncounted)
    counter.start()
    torch.linalg.svd(torch.randn(5, 5))
    counter.stop()
    assert uncounted == {"_linalg_svd"}


def test_nothing_counts_after_stop() -> None:
    counter = FlopCounter(set())
    counter.start()
    counter.stop()
    torch.randn(3, 3) @ torch.randn(3, 3)
    assert counter.total == 0
    assert not counter.running
