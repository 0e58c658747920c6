from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.ledger import Ledger
from continual_df.methods import OnlineEWC
from continual_df.task import Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks
from tests.toy import NoisyDetector, TinyDetector

TASKS = make_tasks(["a"], ["b"], ["c"])


def ewc(**settings: Any) -> OnlineEWC:
    torch.manual_seed(0)
    return OnlineEWC(detector=settings.pop("detector", None) or TinyDetector(), **settings)


def naive_fisher(method: OnlineEWC, rows: Rows) -> np.ndarray:
    """Return the mean over images and both labels, each by its probability, of the squared gradient of its log-likelihood."""
    method.eval()
    total = np.zeros(len(method.fisher_P))
    for image in make_batch(rows)["image"]:
        p = method(image[None]).fake_logit.sigmoid().item()
        for label, probability in ((0, 1 - p), (1, p)):
            z = method(image[None]).fake_logit[0]
            likelihood = torch.nn.functional.logsigmoid(z if label else -z)
            gradients = torch.autograd.grad(likelihood, list(method.parameters()))
            total += probability * np.concatenate([g.numpy().astype(float).ravel() for g in gradients]) ** 2
    return total / rows.num


@pytest.mark.parametrize("normalise", [False, True])
def test_the_fisher_information_is_that_of_a_naive_version_and_runs_on(normalise: bool) -> None:
    method = ewc(detector=NoisyDetector().to(memory_format=torch.channels_last), decay=0.9, normalise=normalise)
    expected = np.zeros(len(method.fisher_P))
    for task in TASKS:
        rows = make_rows(task, 5)
        method.begin_task(task)
        with torch.no_grad():
            method.head.weight.add_(torch.randn(method.head.weight.shape))
        fisher = naive_fisher(method, rows)
        expected = 0.9 * expected + (fisher / fisher.mean() if normalise else fisher)
        method.end_task(task, rows, extract_of(method))
        np.testing.assert_allclose(method.fisher_P.numpy(), expected, rtol=1e-3, atol=1e-6 * expected.max())


def test_the_penalty_is_half_the_strength_times_fisher_times_squared_moves() -> None:
    method = ewc(strength=3.0)
    method.begin_task(TASKS[0])
    batch = make_batch(make_rows(TASKS[1]))
    assert set(method.losses(batch)) == {"detection"}
    method.end_task(TASKS[0], make_rows(TASKS[0]), extract_of(method))
    method.begin_task(TASKS[1])
    assert method.losses(batch)["penalty"].item() == 0
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.5)
    expected = 1.5 * 0.25 * method.fisher_P.sum().item()
    assert method.losses(batch)["penalty"].item() == pytest.approx(expected, rel=1e-4)


def test_the_fisher_information_does_not_depend_on_how_images_come_in_batches() -> None:
    method, rows = ewc(), make_rows(TASKS[0], 9)
    method.begin_task(TASKS[0])
    method.end_task(TASKS[0], rows, extract_of(method))
    whole = method.fisher_P.clone()
    extract = extract_of(method)

    def one_by_one(rows: Rows, fields: tuple[str, ...], view: Any = None) -> dict[str, torch.Tensor]:
        parts = [extract(rows.pick(torch.tensor([i])), fields) for i in range(rows.num)]
        return {name: torch.cat([part[name] for part in parts]) for name in fields}

    method.fisher_P.zero_()
    method.end_task(TASKS[0], rows, one_by_one)
    torch.testing.assert_close(method.fisher_P, whole)


def test_rows_of_weight_zero_and_rows_beyond_the_limit_do_not_count() -> None:
    method = ewc(fisher_images=4)
    method.begin_task(TASKS[0])
    asked = []

    def extract(rows: Rows, fields: tuple[str, ...], view: Any = None) -> dict[str, torch.Tensor]:
        asked.append(rows.num)
        batch = make_batch(rows)
        batch["weight"].zero_()
        method.eval().predict_step(batch, 0)
        return {}

    method.end_task(TASKS[0], make_rows(TASKS[0], 9), extract)
    assert asked == [4]
    assert not method.fisher_P.any()


def test_the_fisher_information_has_a_phase_of_its_own_in_the_ledger() -> None:
    method, rows = ewc(), make_rows(TASKS[0])
    method.begin_task(TASKS[0])
    with Ledger().activate() as ledger:
        with ledger.phase("predict"):
            extract_of(method)(rows, ("fake_logit",))
        with ledger.phase("selection"):
            method.end_task(TASKS[0], rows, extract_of(method))
    forward = ledger.cost(phases=["predict"]).flops
    assert forward > 0
    # forward, and back to the weights alone: no gradient of the pixels is asked for
    assert ledger.cost(phases=["fisher"]).flops == pytest.approx(2 * forward, rel=0.05)
    assert ledger.cost(phases=["selection"]).flops == 0


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="strength must be at least 0, got -1"):
        ewc(strength=-1)
    with pytest.raises(ValueError, match=r"decay must be in \[0, 1\], got 2"):
        ewc(decay=2)
    with pytest.raises(ValueError, match="fisher_images must be at least 1, got 0"):
        ewc(fisher_images=0)
