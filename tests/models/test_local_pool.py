from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from continual_df.models.bn_neck import BNNeck
from continual_df.models.feature_grid import feature_grid
from continual_df.models.local_pool import LocalBranch, local_pool


def naive(map_DHW: np.ndarray, patches: int) -> np.ndarray:
    _, height, width = map_DHW.shape
    down, across = height // patches, width // patches
    tall, wide = height - (patches - 1) * down, width - (patches - 1) * across
    return np.array(
        [
            map_DHW[:, y * down : y * down + tall, x * across : x * across + wide].mean(axis=(1, 2))
            for y in range(patches)
            for x in range(patches)
        ]
    )


@pytest.mark.parametrize(
    ("height", "width", "patches"),
    [(8, 8, 1), (8, 8, 3), (8, 8, 5), (8, 8, 7), (7, 7, 3), (3, 3, 3), (5, 9, 3), (10, 4, 4), (1, 1, 1)],
)
def test_pools_are_means_over_windows(height: int, width: int, patches: int) -> None:
    map_BDHW = np.random.default_rng(0).normal(size=(2, 3, height, width))
    found = local_pool(torch.from_numpy(map_BDHW), patches)
    assert found.shape == (2, patches**2, 3)
    np.testing.assert_allclose(found.numpy(), [naive(one, patches) for one in map_BDHW], atol=1e-12)


def test_three_patches_of_eight_are_windows_of_four_by_four_two_apart() -> None:
    map_BDHW = torch.arange(64.0).view(1, 1, 8, 8)
    corners = torch.tensor([8.0 * y + x for y in (0, 2, 4) for x in (0, 2, 4)])
    assert torch.equal(local_pool(map_BDHW, 3).flatten(), corners + 1.5 * 8 + 1.5)


@pytest.mark.parametrize("patches", [0, 5])
def test_more_patches_than_places_are_refused(patches: int) -> None:
    with pytest.raises(ValueError, match=rf"patches must be within \[1, 4\] for a feature map of 4 x 6, got {patches}"):
        local_pool(torch.zeros(1, 2, 4, 6), patches)


def test_maps_of_all_layouts_become_one() -> None:
    map_BDHW = torch.rand(2, 5, 4, 4)
    tokens_BND = torch.cat([torch.full((2, 3, 5), 7.0), map_BDHW.flatten(2).transpose(1, 2)], dim=1)
    for layout in (map_BDHW, map_BDHW.permute(0, 2, 3, 1), tokens_BND):
        assert torch.equal(feature_grid(layout, 5), map_BDHW)


def test_a_map_without_an_axis_of_the_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"last map is \(2, 960, 4, 4\), which has no axis of 1280 channels"):
        feature_grid(torch.zeros(2, 960, 4, 4), 1280)


def test_the_neck_normalises_and_has_no_bias_to_train() -> None:
    neck = BNNeck(4)
    feature_BD = torch.randn(32, 4) * 5 + 3
    out_BD = neck(feature_BD)
    assert out_BD.mean(dim=0).abs().max() < 1e-5
    assert (out_BD.std(dim=0, unbiased=False) - 1).abs().max() < 1e-4
    assert [name for name, parameter in neck.named_parameters() if parameter.requires_grad] == ["weight"]
    assert neck.weight.tolist() == [1] * 4
    assert neck.bias.tolist() == [0] * 4
    assert list(BNNeck(4, scale=False).parameters()) == []


@pytest.mark.parametrize("scale", [True, False])
def test_a_single_row_in_training_is_normalised_by_the_running_statistics(scale: bool) -> None:
    neck = BNNeck(4, scale)
    neck(torch.randn(32, 4) * 5 + 3)
    before, feature_1D = {key: value.clone() for key, value in neck.state_dict().items()}, torch.randn(1, 4)
    trained = neck(feature_1D)
    assert all(torch.equal(value, before[key]) for key, value in neck.state_dict().items())
    assert torch.equal(trained, neck.eval()(feature_1D))


def test_each_place_has_a_normalisation_of_its_own() -> None:
    branch, map_BDHW = LocalBranch(5, patches=3), torch.randn(16, 5, 8, 8).mul(4).add(1).requires_grad_()
    local_BPD = branch(map_BDHW)
    pooled_BPD = local_pool(map_BDHW.detach(), 3)
    norms = [nn.BatchNorm1d(5) for _ in range(9)]
    expected = torch.stack([norm(pooled_BPD[:, place]) for place, norm in enumerate(norms)], dim=1)
    torch.testing.assert_close(local_BPD, expected)
    assert not local_BPD.requires_grad
    assert list(branch.parameters()) == []
    expected = torch.stack([norm.eval()(pooled_BPD[:, place]) for place, norm in enumerate(norms)], dim=1)
    torch.testing.assert_close(branch.eval()(map_BDHW), expected)
