from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from continual_df.errors import ConfigError
from continual_df.models.detector import TimmDetector
from continual_df.models.ridge_head import RidgeHead
from continual_df.models.weight_average import WeightAverage
from tests.toy import TinyDetector


def test_it_follows_weights_and_batch_statistics_by_a_share() -> None:
    fast = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    slow = WeightAverage(fast)
    before = {name: value.clone() for name, value in slow.module.state_dict().items()}
    with torch.no_grad():
        for value in fast.state_dict().values():
            value.add_(4)
    slow.follow(fast, 0.75)
    for name, value in slow.module.state_dict().items():
        expected = before[name] + (4 if name.endswith("num_batches_tracked") else 1)
        assert torch.allclose(value, expected)
    assert not any(parameter.requires_grad for parameter in slow.parameters())


def test_of_steps_at_one_decay_it_is_the_moving_average() -> None:
    fast = nn.Linear(1, 1, bias=False)
    values, decay, expected = [3.0, -1.0, 5.0], 0.9, 2.0
    nn.init.constant_(fast.weight, expected)
    slow = WeightAverage(fast)
    for value in values:
        nn.init.constant_(fast.weight, value)
        slow.follow(fast, decay)
        expected = decay * expected + (1 - decay) * value
    assert float(slow.module.weight) == pytest.approx(expected)  # type: ignore[arg-type]


def test_a_ridge_head_gives_each_domain_the_same_say_and_ranks_as_its_normal_equations() -> None:
    rng = np.random.default_rng(0)
    x, label = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    domain = np.where(np.arange(60) < 50, label, 2 + label)
    head = RidgeHead(5)
    head.fit(torch.from_numpy(x).float(), torch.from_numpy(label), torch.from_numpy(domain))
    share = np.array([15 / (domain == d).sum() for d in domain])
    y = 2.0 * label - 1
    found = head(torch.from_numpy(x).float()).squeeze(1).numpy()

    def solve(penalty: float) -> np.ndarray:
        mean_x, mean_y = share @ x / share.sum(), share @ y / share.sum()
        xc, yc = x - mean_x, y - mean_y
        w = np.linalg.solve((xc * share[:, None]).T @ xc + penalty * np.eye(5), (xc * share[:, None]).T @ yc)
        return np.asarray((x - mean_x) @ w + mean_y)

    penalties = [10.0**power * np.square(x).mean() for power in range(-3, 5)]
    assert min(np.abs(solve(penalty) - found).max() for penalty in penalties) < 1e-3
    head.forget()
    assert not head.weight.any()


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("from_the_start", [True, False])
def test_frozen_stages_get_no_gradient_and_keep_their_statistics(backbone: str, from_the_start: bool) -> None:
    detector = TimmDetector(backbone, frozen_stages=2 if from_the_start else 0).train()
    detector.freeze_stages(1 if from_the_start else 2)  # fewer than are frozen already: those stay
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    detector(torch.rand(4, 3, 64, 64)).pooled_BD.square().sum().backward()
    frozen = [name for name, parameter in detector.named_parameters() if not parameter.requires_grad]
    assert 0 < len(frozen) < len(list(detector.parameters()))
    assert all(parameter.grad is None for name, parameter in detector.named_parameters() if name in frozen)
    moved = [name for name, value in detector.state_dict().items() if not torch.equal(value, before[name])]
    assert moved
    early = {name.rsplit(".", 1)[0] for name in frozen}
    assert not {name.rsplit(".", 1)[0] for name in moved} & early
    assert detector.train().frozen[0].training is False


def test_too_many_stages_or_a_detector_without_any_are_refused() -> None:
    for wrong in (99, -1):
        with pytest.raises(
            ConfigError, match=f"frozen_stages is {wrong}, but the backbone has 5 stages: freeze from 0 to 4"
        ):
            TimmDetector("test_resnet", frozen_stages=wrong)
    with pytest.raises(ConfigError, match="TinyDetector has no stages that could be frozen"):
        TinyDetector().freeze_stages(1)
