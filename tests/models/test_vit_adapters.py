"""Prompts and low-rank adapters of frozen ViTs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from continual_df.errors import ConfigError
from continual_df.models.detector import Detector, TimmDetector
from continual_df.models.lora import LoRALinear, LoRAViT
from continual_df.models.prompted_vit import PromptedViT
from tests.toy import TINY_VIT, TinyDetector

IMAGE = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def vit(**options: Any) -> TimmDetector:
    torch.manual_seed(0)
    return TimmDetector(**{**TINY_VIT, **options})


def prompted(**options: Any) -> PromptedViT:
    return PromptedViT(vit(**options), 4, "Method")


def adapted(**options: Any) -> LoRAViT:
    return LoRAViT(vit(**options), 3, "Method")


MAKERS: list[Callable[..., Any]] = [prompted, adapted]


def learning(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def disturb(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("make", MAKERS)
def test_a_frozen_vit_neither_learns_nor_draws(make: Callable[..., Any]) -> None:
    rates = {"drop_path_rate": 0.5, "proj_drop_rate": 0.5}
    detector = make(model_args={**TINY_VIT["model_args"], **rates}).train()
    detector.grow()
    assert not [
        name for name in learning(detector) if "prompts" not in name and "down" not in name and "up" not in name
    ]
    assert torch.equal(detector(IMAGE).pooled_BD, detector(IMAGE).pooled_BD)


@pytest.mark.parametrize("make", MAKERS)
def test_dropout_on_the_pooled_vector_stays_with_what_learns(make: Callable[..., Any]) -> None:
    detector = make(drop_rate=0.5)
    detector.grow()
    assert (detector.train()(IMAGE).pooled_BD == 0).any()
    assert not (detector.eval()(IMAGE).pooled_BD == 0).any()


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("detector", "what"),
    [(TinyDetector(), "a TinyDetector:"), (TimmDetector("test_resnet"), "a TimmDetector with the backbone ResNet:")],
)
def test_other_detectors_are_refused_with_what_is_needed(make: Any, detector: Detector, what: str) -> None:
    cls = {prompted: PromptedViT, adapted: LoRAViT}[make]
    with pytest.raises(
        ConfigError, match=f"SPrompts needs a timm ViT, and .*detector is {what} use .*vit_base_patch16"
    ):
        cls(detector, 2, "SPrompts")


def test_a_vit_without_feed_forward_layers_of_their_own_is_refused() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp_out = nn.Linear(4, 4)

    detector = vit()
    detector.backbone.blocks = nn.Sequential(Block())
    with pytest.raises(
        ConfigError, match="DevFDLike adapts the layers named mlp of a ViT, and the detector's Block has"
    ):
        LoRAViT(detector, 2, "DevFDLike")


def naive_prompted(detector: TimmDetector, image: Tensor, prompt_LD: Tensor) -> Tensor:
    """The class token after one image went through the blocks: [class; prompt; patches]."""
    net = detector.backbone
    patch_ND = net.patch_embed(detector.prepare(image[None]))[0]
    place = net.pos_embed[0]
    token_ND = torch.cat([net.cls_token[0] + place[:1], prompt_LD, patch_ND + place[1:]])
    for block in net.blocks:
        token_ND = block(token_ND[None])[0]
    out: Tensor = net.norm(token_ND[0])
    return out


def test_prompts_stand_between_class_token_and_patches() -> None:
    detector = prompted()
    detector.grow()
    detector.grow()
    found = detector(IMAGE, torch.tensor([1, 0, 1])).pooled_BD
    for row, task in enumerate([1, 0, 1]):
        expected = naive_prompted(detector.vit, IMAGE[row], detector.prompts[task])
        torch.testing.assert_close(found[row], expected)
    torch.testing.assert_close(
        detector(IMAGE).pooled_BD[1], naive_prompted(detector.vit, IMAGE[1], detector.prompts[1])
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reg_tokens": 2, "no_embed_class": True},
        {"class_token": False, "global_pool": "avg"},
        {"pre_norm": True},
        {"dynamic_img_size": True},
    ],
    ids=lambda options: "+".join(options) or "usual",
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_prompt_is_no_prompt_in_every_layout_of_tokens(options: dict[str, Any]) -> None:
    detector = PromptedViT(vit(model_args={**TINY_VIT["model_args"], **options}), 0, "Method")
    detector.grow()
    plain, empty = detector.plain(IMAGE), detector(IMAGE)
    torch.testing.assert_close(empty.pooled_BD, plain.pooled_BD)
    longer = PromptedViT(detector.vit, 3, "Method")
    longer.grow()
    assert longer(IMAGE).map_BDHW.shape == plain.map_BDHW.shape  # pooled over the same tokens


def test_only_the_newest_prompt_learns_and_the_others_give_what_they_gave() -> None:
    detector = prompted()
    detector.grow()
    first = torch.zeros(3, dtype=torch.long)
    before = detector(IMAGE).pooled_BD
    detector.grow()
    assert learning(detector) == ["prompts.1"]
    disturb(detector)
    assert torch.equal(detector(IMAGE, first).pooled_BD, before)
    assert not torch.allclose(detector(IMAGE).pooled_BD, before)


def test_a_layer_adds_up_its_adapters() -> None:
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(5, 7).requires_grad_(False), 2, (0, 0))
    layer.grow()
    layer.grow()
    for up in layer.up:
        nn.init.normal_(up)
    x = torch.randn(4, 3, 5)
    expected = layer.linear(x) + sum(x @ (up @ down).T for down, up in zip(layer.down, layer.up, strict=True))
    torch.testing.assert_close(layer(x), expected)


def test_new_adapters_change_nothing_until_they_learn() -> None:
    plain, detector = vit().eval()(IMAGE).pooled_BD, adapted()
    detector.grow()
    assert torch.equal(detector(IMAGE).pooled_BD, plain)
    disturb(detector)
    learnt = detector(IMAGE).pooled_BD
    assert not torch.allclose(learnt, plain)
    detector.grow()
    torch.testing.assert_close(detector(IMAGE).pooled_BD, learnt)


def test_adapters_stand_in_the_feed_forward_layers_of_all_blocks() -> None:
    detector = adapted()
    names = [name for name, layer in detector.vit.backbone.named_modules() if isinstance(layer, LoRALinear)]
    assert names == [f"blocks.{block}.mlp.{layer}" for block in (0, 1) for layer in ("fc1", "fc2")]
    assert [layer.rank for layer in detector.layers] == [3] * 4


def test_the_shared_adapter_and_the_newest_learn_those_of_earlier_tasks_do_not() -> None:
    detector = adapted()
    for _ in range(3):
        detector.grow()
    assert {name.rpartition("mlp.")[2].partition(".")[2] for name in learning(detector)} == {
        *("down.0", "down.3", "up.0", "up.3")
    }


def test_directions_are_those_of_the_newest_task_and_of_the_tasks_before() -> None:
    detector = adapted()
    detector.grow()
    assert [len(earlier) for _, earlier in detector.directions()] == [0] * 4
    detector.grow()
    detector.grow()
    for layer, (new, earlier) in zip(detector.layers, detector.directions(), strict=True):
        assert new is layer.down[3]
        assert torch.equal(earlier, torch.cat([layer.down[1], layer.down[2]]))
        assert not earlier.requires_grad


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_drawn_depends_on_seed_and_place_alone(make: Callable[..., Any]) -> None:
    first, second = make(), make()
    for detector, draws in ((first, 0), (second, 7)):
        detector.grow()
        torch.rand(draws)
        detector.grow()
    state = second.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in first.state_dict().items())
    drawn = [value for name, value in first.named_parameters() if "prompts" in name or ".down." in name]
    assert len({value.flatten()[0].item() for value in drawn}) == len(drawn)
