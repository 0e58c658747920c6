from __future__ import annotations

import pytest
import torch
from torch import Tensor

from continual_df.models.perturbations import Perturbations

WEIGHT_P = torch.tensor([1.0, -2.0, 0.5, 0.0])
"""Of a detector that is linear in the four pixels of an image."""


def linear(image: Tensor) -> Tensor:
    return image.flatten(start_dim=1) @ WEIGHT_P


def images(num: int = 5) -> Tensor:
    return torch.rand(num, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25


def test_a_step_goes_up_the_logit_of_fake_by_the_sign_of_the_gradient() -> None:
    # d BCE(z, 1) / dz = sigmoid(z) - 1 < 0 for every image, so that the step has the sign of the weights
    perturbations = Perturbations(step=0.01, bound=0.02)
    before = perturbations.push(images(), torch.ones(5), linear)
    torch.testing.assert_close(before, linear(images()))
    assert perturbations.making_CHW is not None
    torch.testing.assert_close(perturbations.making_CHW.flatten(), 0.01 * WEIGHT_P.sign())
    for _ in range(3):
        perturbations.push(images(), torch.ones(5), linear)
    torch.testing.assert_close(perturbations.making_CHW.flatten(), 0.02 * WEIGHT_P.sign())  # the bound


def test_rows_that_do_not_count_push_nothing() -> None:
    perturbations = Perturbations(step=0.01, bound=0.02)
    perturbations.push(images(), torch.zeros(5), linear)
    assert perturbations.making_CHW is not None
    assert not perturbations.making_CHW.any()


def test_pixels_at_their_end_are_not_pushed_further() -> None:
    perturbations = Perturbations(step=0.01, bound=0.02)
    perturbations.push(1.5 * torch.ones(1, 1, 2, 2), torch.ones(1), linear)
    assert perturbations.making_CHW is not None
    assert not perturbations.making_CHW.any()
    perturbations.keep()
    assert perturbations.put_one_on(1.5 * torch.ones(1, 1, 2, 2)).max() == 1


def test_what_is_made_under_inference_mode_can_be_trained_on() -> None:
    perturbations = Perturbations(step=0.01, bound=0.02)
    with torch.inference_mode():
        image = images() * 1  # as a Trainer's prediction has them
        perturbations.push(image, torch.ones(5), linear)
        perturbations.push(image, torch.ones(5), linear)
    perturbations.keep()
    weight = torch.ones(4, requires_grad=True)
    (perturbations.put_one_on(images()).flatten(start_dim=1) @ weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None


def test_one_of_the_kept_is_drawn_from_the_global_generator() -> None:
    perturbations = Perturbations(step=0.01, bound=0.02)
    for _ in range(2):
        perturbations.push(images(), torch.ones(5), linear)
        perturbations.keep()
    perturbations.kept_KCHW[1] *= -1
    found = set()
    for seed in range(8):
        torch.manual_seed(seed)
        first = perturbations.put_one_on(images())
        torch.manual_seed(seed)
        assert torch.equal(first, perturbations.put_one_on(images()))
        found |= {number for number in range(2) if torch.equal(first, images() + perturbations.kept_KCHW[number])}
    assert found == {0, 1}


def test_any_number_of_any_size_is_loaded() -> None:
    perturbations, other = Perturbations(step=0.01, bound=0.02), Perturbations(step=0.01, bound=0.02)
    other.load_state_dict(perturbations.state_dict())
    for _ in range(3):
        perturbations.push(images(), torch.ones(5), linear)
        perturbations.keep()
    other.load_state_dict(perturbations.state_dict())
    assert torch.equal(other.kept_KCHW, perturbations.kept_KCHW)
    assert len(other) == 3


@pytest.mark.parametrize("name", ["step", "bound"])
def test_sizes_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0 and at most 1, got 0"):
        Perturbations(**{"step": 0.01, "bound": 0.1, name: 0})
