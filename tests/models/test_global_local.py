from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from continual_df.models.cosine_head import CosineHead
from continual_df.models.detector import Features, TimmDetector
from continual_df.models.global_local import GlobalLocalHead
from continual_df.models.growing_head import GrowingHead


def features(num: int = 6, size: int = 5) -> Features:
    map_BDHW = torch.randn(num, size, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return Features(map_BDHW, map_BDHW.mean(dim=(2, 3)))


def test_logits_are_those_of_the_normalised_pooled_features() -> None:
    head = GlobalLocalHead(5, 4).eval()
    seen = features()
    logit_BK, global_BD, local_BPD = head(seen)
    torch.testing.assert_close(logit_BK, global_BD @ head.classifier.weight_KD.T)
    torch.testing.assert_close(global_BD, seen.pooled_BD / (1 + 1e-5) ** 0.5)
    assert local_BPD.shape == (6, 9, 5)


def test_what_is_trained_are_the_weights_of_neck_and_classifier() -> None:
    head = GlobalLocalHead(5, 4)
    seen = features()
    logit_BK, _, local_BPD = head(seen)
    logit_BK.square().sum().backward()
    trained = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert trained == {"neck.weight", "classifier.weight_KD"}
    assert {name for name, parameter in head.named_parameters() if parameter.requires_grad} == trained
    assert not local_BPD.requires_grad
    assert seen.map_BDHW.grad is not None


def test_dropout_is_on_what_is_classified_only() -> None:
    head, plain = GlobalLocalHead(5, 4, dropout=0.9), GlobalLocalHead(5, 4, dropout=0)
    plain.load_state_dict(head.state_dict())
    (dropped, seen, _), (kept, same, _) = head(features()), plain(features())
    assert torch.equal(seen, same)
    assert not torch.equal(dropped, kept)


def test_first_logits_are_near_zero() -> None:
    head = GlobalLocalHead(2048, 20, dropout=0)
    seen = Features(torch.zeros(16, 2048, 4, 4), torch.randn(16, 2048))
    assert head(seen).logit_BK.std().item() == pytest.approx(2048**0.5 * 0.001, rel=0.2)


@pytest.mark.parametrize("cosine", [None, 10.0])
def test_heads_are_added_and_old_ones_stay(cosine: float | None) -> None:
    head = GlobalLocalHead(5, 3, cosine=cosine).eval()
    before = head(features()).logit_BK
    head.grow(4)
    after = head(features()).logit_BK
    assert after.shape == (6, 7)
    torch.testing.assert_close(after[:, :3], before)
    assert (after[:, 3:].abs().sum(dim=0) > 0).all()


@pytest.mark.parametrize("num_heads", [2, 3, 9])
def test_a_checkpoint_of_any_number_of_heads_loads(num_heads: int, tmp_path: Path) -> None:
    head, other = GlobalLocalHead(5, 3), GlobalLocalHead(5, num_heads)
    torch.save(other.state_dict(), tmp_path / "head.pt")
    head.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))
    assert head.classifier.num_heads == num_heads
    assert torch.equal(head.eval()(features()).logit_BK, other.eval()(features()).logit_BK)
    assert head.classifier.weight_KD.requires_grad


def test_a_checkpoint_of_other_features_is_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        GrowingHead(5, 3).load_state_dict(GrowingHead(6, 4).state_dict())


def test_new_heads_depend_on_the_seed_and_their_place_alone() -> None:
    weights = []
    for extra in (0, 100):
        torch.manual_seed(3)
        head = GrowingHead(4, 2)
        torch.rand(extra)
        head.grow(3)
        weights.append(head.weight_KD.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert len(set(weights[0].flatten().tolist())) == 20


def test_weights_of_the_same_number_stay_in_the_parameter_that_the_optimizer_knows() -> None:
    head = GrowingHead(4, 3)
    parameter = head.weight_KD
    head.set_weights(torch.ones(3, 4))
    assert head.weight_KD is parameter
    assert head.weight_KD.sum() == 12
    head.set_weights(torch.ones(2, 4))
    assert head.num_heads == 2
    assert isinstance(head.weight_KD, torch.nn.Parameter)


def test_cosine_logits_are_scaled_cosines_whatever_the_lengths() -> None:
    head = CosineHead(5, 3, scale=7)
    rng = np.random.default_rng(0)
    feature, weight = rng.normal(size=(4, 5)), rng.normal(size=(3, 5)) * [[0.1], [1], [50]]
    head.set_weights(torch.from_numpy(weight).float())
    expected = [[7 * f @ w / np.linalg.norm(f) / np.linalg.norm(w) for w in weight] for f in feature]
    assert head(torch.from_numpy(feature).float()).detach().numpy() == pytest.approx(np.array(expected), abs=1e-5)
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        CosineHead(5, 3, scale=0)


@pytest.mark.parametrize(
    ("backbone", "size", "num_channels", "args"),
    [
        ("test_resnet", 96, None, {}),
        ("test_vit", 160, None, {}),
        ("mobilenetv3_small_050", 96, 288, {}),
        (
            "swin_tiny_patch4_window7_224",
            96,
            None,
            {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
        ),
    ],
)
def test_any_detector_has_places(backbone: str, size: int, num_channels: int | None, args: dict[str, object]) -> None:
    image_size = size if args else None
    detector = TimmDetector(backbone, img_size=image_size, model_args=args).eval()
    head = GlobalLocalHead(detector.num_features, 3, num_channels=num_channels)
    with torch.no_grad():
        local_BPD = head(detector(torch.rand(2, 3, size, size))).local_BPD
    assert local_BPD.shape == (2, 9, num_channels or detector.num_features)
    assert torch.isfinite(local_BPD).all()
