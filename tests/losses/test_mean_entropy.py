from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from continual_df.losses.mean_entropy import known_prior, mean_entropy


def mean_of(logit: np.ndarray) -> np.ndarray:
    e = np.exp(logit)
    return np.asarray((e / e.sum(axis=1, keepdims=True)).mean(axis=0))


def test_it_is_the_divergence_of_the_mean_prediction_from_the_prior() -> None:
    rng = np.random.default_rng(0)
    logit, prior = rng.normal(size=(7, 4)) * 3, rng.dirichlet(np.ones(4))
    mean = mean_of(logit)
    found = mean_entropy(torch.from_numpy(logit), torch.from_numpy(prior).float())
    assert found.item() == pytest.approx(float((mean * np.log(mean / prior)).sum()), rel=1e-4)
    uniform = mean_entropy(torch.from_numpy(logit)).item()
    assert uniform == pytest.approx(math.log(4) + float((mean * np.log(mean)).sum()), rel=1e-4)


@pytest.mark.parametrize(("num_heads", "entropy"), [(20, 2.9957), (22, 3.0910)])
def test_heads_that_know_nothing_have_the_largest_entropy(num_heads: int, entropy: float) -> None:
    loss = mean_entropy(torch.zeros(8, num_heads))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert math.log(num_heads) - loss.item() == pytest.approx(entropy, abs=1e-4)


def test_its_gradient_is_that_of_minus_the_entropy() -> None:
    logit_BK = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mean_K = logit_BK.softmax(dim=1).mean(dim=0)
    (expected_BK,) = torch.autograd.grad((mean_K * mean_K.log()).sum(), logit_BK)
    (found_BK,) = torch.autograd.grad(mean_entropy(logit_BK), logit_BK)
    torch.testing.assert_close(found_BK, expected_BK)


@pytest.mark.parametrize("prior", [None, [0.7, 0.2, 0.1]])
def test_heads_of_no_use_have_a_finite_loss_and_gradient(prior: list[float] | None) -> None:
    logit_BK = torch.tensor([[900.0, 0, -900]] * 3, requires_grad=True)
    loss = mean_entropy(logit_BK, None if prior is None else torch.tensor(prior))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(math.log(3) if prior is None else -math.log(0.7))
    assert logit_BK.grad is not None
    assert torch.isfinite(logit_BK.grad).all()


def test_descending_it_the_mean_prediction_becomes_the_prior() -> None:
    logit_BK = torch.randn(32, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer, prior_K = torch.optim.Adam([logit_BK], lr=0.1), torch.tensor([0.6, 0.3, 0.1])
    for _ in range(300):
        optimizer.zero_grad()
        mean_entropy(logit_BK, prior_K).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    torch.testing.assert_close(logit_BK.detach().softmax(dim=1).mean(dim=0), prior_K, atol=1e-3, rtol=0)


def balanced(counts: list[int], num_novel: int, novel_share: float, labelled: float = 0.5) -> torch.Tensor:
    """The prior of a batch whose labelled part holds equally many rows of each class."""
    count_C = torch.tensor(counts)
    return known_prior((count_C > 0) * labelled / max(int((count_C > 0).sum()), 1), count_C, num_novel, novel_share)


def test_the_known_prior_of_owdfa_1() -> None:
    prior_K = balanced([1500] * 8, 12, 18_000 / 22_000)
    assert prior_K[:8].tolist() == pytest.approx([0.0739] * 8, abs=5e-5)
    assert prior_K[8:].tolist() == pytest.approx([0.0341] * 12, abs=5e-5)


def test_the_known_prior_of_owdfa_2() -> None:
    prior_K = balanced([15_000] + [1500] * 8, 13, 23_000 / 32_000)
    assert prior_K[0].item() == pytest.approx(0.134, abs=5e-4)
    assert prior_K[1:9].tolist() == pytest.approx([0.063] * 8, abs=5e-4)
    assert prior_K[9:].sum().item() == pytest.approx(23_000 / 32_000 / 2)


def test_the_known_prior_is_that_of_rows_drawn_as_it_says() -> None:
    # classes 0 and 1 have 300 and 100 labelled rows, the unlabelled ones 90 and 30, and two novel ones 60 each; a batch
    # is a quarter labelled
    unlabelled = np.repeat([0, 1, 2, 3], [90, 30, 60, 60])
    rng = np.random.default_rng(0)
    drawn = np.concatenate([rng.integers(0, 2, 50_000), rng.choice(unlabelled, 150_000)])
    share_K = np.bincount(drawn) / len(drawn)
    assert balanced([300, 100], 2, 0.5, labelled=0.25).numpy() == pytest.approx(share_K, abs=0.005)


def test_a_class_without_labelled_rows_has_no_share() -> None:
    assert balanced([3, 0, 1], 2, 0.5).tolist() == pytest.approx([0.25 + 0.75 / 4, 0, 0.25 + 0.25 / 4, 0.125, 0.125])


@pytest.mark.parametrize("counts", [[3], [5, 1, 9]])
@pytest.mark.parametrize(("num_novel", "novel_share"), [(0, 0.0), (1, 0.2), (7, 1.0)])
def test_a_known_prior_has_a_share_for_each_head(counts: list[int], num_novel: int, novel_share: float) -> None:
    prior_K = balanced(counts, num_novel, novel_share)
    assert prior_K.shape == (len(counts) + num_novel,)
    assert prior_K.sum().item() == pytest.approx(1)
    assert (prior_K > 0).all()


@pytest.mark.parametrize(
    ("labelled", "counts", "num_novel", "novel_share", "message"),
    [
        ([], [], 2, 0.5, r"the sum of labelled_C must be within \(0, 1\), got 0"),
        ([0.5, 0.5], [3, 1], 2, 0.5, r"the sum of labelled_C must be within \(0, 1\), got 1"),
        ([0.2, 0.2], [3, 0], 2, 0.5, r"count_C must be positive where .*; got \[3, 0\]"),
        ([0.2, 0.0], [3, 1], 2, 0.5, r"count_C must be positive where .*; got \[3, 1\]"),
        ([0.5, -0.1], [3, 0], 2, 0.5, r"count_C must be positive where .*; got \[3, 0\]"),
        ([0.5], [3], 2, 0.0, r"novel_share must be .*; got 0.0 of 2 heads"),
        ([0.5], [3], 0, 0.5, r"novel_share must be .*; got 0.5 of 0 heads"),
        ([0.5], [3], 2, 1.5, r"novel_share must be .*; got 1.5 of 2 heads"),
    ],
)
def test_priors_that_cannot_be_are_refused(
    labelled: list[float], counts: list[int], num_novel: int, novel_share: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        known_prior(torch.tensor(labelled), torch.tensor(counts), num_novel, novel_share)
