from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from continual_df.losses.asymmetric_threshold import AsymmetricThreshold
from continual_df.losses.class_threshold import ClassThreshold
from continual_df.losses.fixed_threshold import FixedThreshold
from continual_df.losses.pseudo_label import PseudoLabels, pseudo_label_loss
from continual_df.losses.pseudo_label_rules import PseudoLabel, pseudo_labeller
from continual_df.losses.reversing_confidence import reversing_confidence
from continual_df.losses.self_adaptive_threshold import SelfAdaptiveThreshold
from continual_df.losses.soft_pseudo_label import SoftPseudoLabeller
from continual_df.losses.two_thresholds import TwoThresholds

RULES: tuple[PseudoLabel, ...] = get_args(PseudoLabel)


def logits_of(probability: list[list[float]]) -> torch.Tensor:
    return torch.tensor(probability).log()


def sure_of(head: int, confidence: float, num_heads: int = 4) -> list[float]:
    row = [(1 - confidence) / (num_heads - 1)] * num_heads
    row[head] = confidence
    return row


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def test_the_loss_is_the_weighed_cross_entropy_of_each_row() -> None:
    rng = np.random.default_rng(0)
    logit, target, weight = rng.normal(size=(5, 3)), softmax(rng.normal(size=(5, 3))), rng.uniform(size=5)
    labels = PseudoLabels(torch.from_numpy(target), torch.from_numpy(weight))
    expected = [-w * float(t @ np.log(p)) for w, t, p in zip(weight, target, softmax(logit), strict=True)]
    assert pseudo_label_loss(torch.from_numpy(logit), labels).numpy() == pytest.approx(expected, rel=1e-5)
    accepted_U = torch.tensor([True, False, True, False, True])
    found = pseudo_label_loss(torch.from_numpy(logit), labels, accepted_U)
    assert found.numpy() == pytest.approx(np.where(accepted_U, expected, 0), rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_rows_that_no_vote_accepts_cost_nothing_and_have_no_gradient(rule: PseudoLabel) -> None:
    logit_UK = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).mul(9).requires_grad_()
    labeller = pseudo_labeller(rule, 2, 4)
    labeller.observe(logit_UK, logit_UK)
    loss = pseudo_label_loss(logit_UK, labeller(logit_UK), torch.zeros(6, dtype=torch.bool)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logit_UK.grad is not None
    assert not logit_UK.grad.any()


@pytest.mark.parametrize("rule", RULES)
def test_targets_are_shares_and_carry_no_gradient(rule: PseudoLabel) -> None:
    logit_UK = torch.randn(6, 4, requires_grad=True)
    target_UK, weight_U = pseudo_labeller(rule, 2, 4)(logit_UK)
    assert not target_UK.requires_grad
    torch.testing.assert_close(target_UK.sum(dim=1), torch.ones(6))
    assert (target_UK >= 0).all()
    assert (weight_U >= 0).all()
    assert weight_U.requires_grad == (rule == "soft")


@pytest.mark.parametrize("rule", RULES)
def test_asking_for_labels_changes_nothing_and_state_travels_in_a_checkpoint(rule: PseudoLabel) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = [torch.randn(16, 4, generator=draw) * 5 for _ in range(4)]
    labeller, other = pseudo_labeller(rule, 2, 4), pseudo_labeller(rule, 2, 4)
    for logit_UK in logits[:2]:
        labeller.observe(logit_UK, logit_UK)
    before = {key: value.clone() for key, value in labeller.state_dict().items()}
    labeller(logits[2])
    assert all(torch.equal(value, before[key]) for key, value in labeller.state_dict().items())
    other.load_state_dict(labeller.state_dict())
    for one in (labeller, other):
        one.observe(logits[2], logits[2])
        one.end_epoch()
    for name in ("target_UK", "weight_U"):
        labels = [getattr(one(logits[3], torch.Generator().manual_seed(1)), name) for one in (labeller, other)]
        assert torch.equal(*labels)


@pytest.mark.parametrize("rule", RULES)
def test_no_rows_are_no_error(rule: PseudoLabel) -> None:
    labeller, logit_UK = pseudo_labeller(rule, 2, 4), torch.empty(0, 4)
    labeller.observe(logit_UK, logit_UK)
    labeller.end_epoch()
    assert pseudo_label_loss(logit_UK, labeller(logit_UK)).shape == (0,)
    assert all(torch.isfinite(value).all() for value in labeller.state_dict().values())


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pseudo_label must be one of soft, .*, got 'magic'"):
        pseudo_labeller("magic", 1, 2)  # type: ignore[arg-type]


def test_soft_labels_are_drawn_as_often_as_they_are_probable() -> None:
    probability = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logit_UK = probability.log().expand(40_000, 4)
    target_UK, weight_U = SoftPseudoLabeller()(logit_UK, torch.Generator().manual_seed(0))
    drawn_U = target_UK.argmax(dim=1)
    share_K = torch.bincount(drawn_U, minlength=4) / 40_000
    assert (share_K - probability).abs().max() < 0.01  # four standard deviations
    torch.testing.assert_close(weight_U, probability[drawn_U])


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_soft_labels_are_the_softmax_of_logits_with_gumbel_noise(temperature: float) -> None:
    logit = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    draw = torch.empty(5, 3).exponential_(generator=torch.Generator().manual_seed(4)).numpy()
    target = softmax((logit - np.log(draw)) / temperature)
    weight = softmax(logit)[range(5), target.argmax(axis=1)]
    found = SoftPseudoLabeller(temperature)(torch.from_numpy(logit), torch.Generator().manual_seed(4))
    assert found.target_UK.numpy() == pytest.approx(target, abs=1e-6)
    assert found.weight_U.numpy() == pytest.approx(weight, abs=1e-6)


def test_heads_that_know_nothing_have_the_known_soft_loss() -> None:
    logit_UK = torch.zeros(64, 20)
    loss = pseudo_label_loss(logit_UK, SoftPseudoLabeller()(logit_UK)).mean()
    assert loss.item() == pytest.approx(math.log(20) / 20)  # 0.15 times the rate of votes


def test_the_weight_of_soft_labels_adds_its_gradient_unless_detached() -> None:
    logit_UK = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradients = []
    for detach in (True, False):
        labels = SoftPseudoLabeller(detach_weight=detach)(logit_UK, torch.Generator().manual_seed(1))
        (gradient_UK,) = torch.autograd.grad(pseudo_label_loss(logit_UK, labels).sum(), logit_UK)
        gradients.append(gradient_UK)
        p_UK = logit_UK.detach().softmax(dim=1)
        expected_UK = labels.weight_U.detach()[:, None] * (p_UK - labels.target_UK)
        if not detach:  # d p_c / d z = p_c (1[c] - p), times the cross-entropy
            entropy_U = -(labels.target_UK * p_UK.log()).sum(dim=1)
            one_hot_UK = torch.nn.functional.one_hot(labels.target_UK.argmax(dim=1), 3)
            expected_UK = expected_UK + (entropy_U * labels.weight_U.detach())[:, None] * (one_hot_UK - p_UK)
        torch.testing.assert_close(gradient_UK, expected_UK)
    assert not torch.allclose(gradients[0], gradients[1])


def test_fixed_threshold_takes_what_reaches_it() -> None:
    logit_UK = logits_of([sure_of(1, 0.96), sure_of(2, 0.94), sure_of(0, 0.4)])
    target_UK, weight_U = FixedThreshold()(logit_UK)
    assert target_UK.argmax(dim=1).tolist() == [1, 2, 0]
    assert weight_U.tolist() == [1, 0, 0]
    assert FixedThreshold(0.0)(logit_UK).weight_U.tolist() == [1, 1, 1]


def test_class_thresholds_by_hand() -> None:
    labeller = ClassThreshold(4)
    epoch = [sure_of(0, 0.99)] * 4 + [sure_of(1, 0.97)] * 2 + [sure_of(2, 0.9)] * 3
    asked = logits_of([sure_of(0, 0.94), sure_of(0, 0.96), sure_of(1, 0.33), sure_of(1, 0.3), sure_of(2, 0.26)])
    assert labeller(asked).weight_U.tolist() == [1] * 5
    for part in (epoch[:5], epoch[5:]):
        labeller.observe(logits_of(part), logits_of(part))
    labeller.end_epoch()
    # 4, 2 and 0 sure labels, 3 unsure rows: a = 1, 1/2, 0, 0; thresholds .95, .95 / 3 = .3167, 0, 0
    assert labeller.share_K.tolist() == [1, 0.5, 0, 0]
    assert labeller(asked).weight_U.tolist() == [0, 1, 1, 0, 1]
    labeller.observe(logits_of(epoch[:1] + epoch[6:] + epoch[6:]), asked)
    labeller.end_epoch()
    assert labeller.share_K.tolist() == pytest.approx([1 / 6, 0, 0, 0])  # six unsure rows are more than any head's


def test_self_adaptive_thresholds_by_hand() -> None:
    labeller = SelfAdaptiveThreshold(2, momentum=0.5, quantile=0.5)
    logit_UK = logits_of([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    labeller.observe(logit_UK, logit_UK)
    # median confidence .7, mean probabilities .6 and .4; from 1/2 half way there: t = .6, m = .55, .45
    assert labeller.level.item() == pytest.approx(0.6)
    assert labeller.mean_K.tolist() == pytest.approx([0.55, 0.45])
    low = 0.6 * 0.45 / 0.55  # .4909
    asked = logits_of([[0.61, 0.39], [0.59, 0.41], [0.49, 0.51]])
    assert low < 0.51
    assert labeller(asked).weight_U.tolist() == [1, 0, 1]


def test_asymmetric_threshold_by_hand() -> None:
    labeller = AsymmetricThreshold(2)
    asked = logits_of([sure_of(0, 0.91), sure_of(0, 0.89), sure_of(3, 0.61), sure_of(3, 0.59)])
    assert labeller(asked).weight_U.tolist() == [1, 0, 0, 0]
    weak = logits_of([sure_of(0, 0.9), sure_of(1, 0.9), sure_of(2, 0.7), sure_of(3, 0.5), sure_of(3, 0.99)])
    strong = logits_of([sure_of(0, 0.5), sure_of(1, 0.5), sure_of(2, 0.5), sure_of(3, 0.5), sure_of(1, 0.5)])
    labeller.observe(weak, strong)
    labeller.end_epoch()
    assert labeller.ratio.item() == pytest.approx(0.6 / 0.9)  # the last row's views differ
    assert labeller(asked).weight_U.tolist() == [1, 0, 1, 0]  # .9 * 2/3 = .6
    labeller.observe(weak[:2], strong[:2])
    labeller.end_epoch()
    assert labeller.ratio.item() == pytest.approx(0.6 / 0.9)  # an epoch without novel rows


def test_asymmetric_ratio_stays_within_its_bounds() -> None:
    labeller = AsymmetricThreshold(1)
    rows = logits_of([sure_of(0, 0.999, 100), sure_of(1, 0.02, 100)])
    labeller.observe(rows, rows)
    labeller.end_epoch()
    assert labeller.ratio.item() == pytest.approx(0.1)


def test_two_thresholds_by_hand() -> None:
    labeller = TwoThresholds(2)
    asked = logits_of([sure_of(0, 0.94), sure_of(0, 0.96), sure_of(2, 0.46), sure_of(2, 0.44), sure_of(3, 0.76)])
    assert labeller(asked).weight_U.tolist() == [0, 1, 1, 0, 1]  # unsure by 1: .95 - .5
    for confidence in (0.8, 1 - 1e-6):
        rows = logits_of([sure_of(1, confidence)] * 3)
        labeller.observe(rows, rows)
    labeller.end_epoch()
    assert labeller.uncertainty.item() == pytest.approx(0.1, abs=1e-5)
    assert labeller(asked).weight_U.tolist() == [0, 1, 0, 0, 1]  # .95 - .2
    assert labeller(logits_of([sure_of(3, 0.74)])).weight_U.tolist() == [0]


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_reversing_confidence_is_the_formula(progress: float) -> None:
    rng = np.random.default_rng(0)
    weak, strong = rng.normal(size=(6, 4)) / 4, rng.normal(size=(6, 4))
    q, p = softmax(weak / 0.1), softmax(strong)
    weight = (1 - progress) * q.max(axis=1) + progress * (1 - q.max(axis=1))
    expected = weight * -(q * np.log(p)).sum(axis=1)
    weak_BK, strong_BK = (torch.tensor(one, requires_grad=True) for one in (weak, strong))
    loss_B = reversing_confidence(weak_BK, strong_BK, progress)
    assert loss_B.detach().numpy() == pytest.approx(expected, rel=1e-4)
    loss_B.sum().backward()  # type: ignore[no-untyped-call]
    assert weak_BK.grad is None
    assert strong_BK.grad is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftPseudoLabeller(temperature=0), "temperature must be positive, got 0"),
        (lambda: FixedThreshold(1.5), r"threshold must be within \[0, 1\], got 1.5"),
        (lambda: ClassThreshold(3, -0.1), r"threshold must be within \[0, 1\], got -0.1"),
        (lambda: AsymmetricThreshold(3, 2), r"threshold must be within \[0, 1\], got 2"),
        (lambda: TwoThresholds(3, 2), r"threshold must be within \[0, 1\], got 2"),
        (lambda: SelfAdaptiveThreshold(3, momentum=1), r"momentum must be within \[0, 1\), got 1"),
        (lambda: SelfAdaptiveThreshold(3, quantile=2), r"quantile must be within \[0, 1\], got 2"),
    ],
)
def test_settings_out_of_range_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
