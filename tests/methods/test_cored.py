from __future__ import annotations

import numpy as np
import pytest
import torch

from continual_df.losses.confidence_cells import cell_distance, cell_sums
from continual_df.methods import CoReD
from continual_df.task import Batch
from tests.made_up_tasks import make_batch, make_rows, make_tasks
from tests.toy import TinyDetector

FIRST, SECOND, THIRD = make_tasks(["a"], ["b"], ["c"])


def drifted(**settings: float) -> CoReD:
    """Return a method in its second task, away from its teacher."""
    torch.manual_seed(0)
    method = CoReD(detector=TinyDetector(), **settings)
    method.begin_task(FIRST)
    method.begin_task(SECOND)
    with torch.no_grad():
        for parameter in (*method.detector.parameters(), *method.head.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def seen_by_teacher(method: CoReD, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    assert method.teacher is not None
    assert method.teacher_head is not None
    feature_BD = method.teacher(batch["image"]).pooled_BD
    return feature_BD, method.teacher_head(feature_BD).squeeze(1)


def test_the_terms_are_those_of_the_paper() -> None:
    method = drifted().eval()
    batch = make_batch(make_rows(SECOND, 40))
    feature_BD, teacher_B = seen_by_teacher(method, batch)
    method.bank_sum_KD, method.bank_count_K = cell_sums(feature_BD, teacher_B, batch["label"])
    with torch.no_grad():
        prediction = method(batch["image"])
        terms = {name: value.item() for name, value in method.losses(batch).items()}
    s, h, y = (x.numpy().astype(float) for x in (prediction.fake_logit, teacher_B, batch["label"]))
    p, q = 1 / (1 + np.exp(-h / 20)), 1 / (1 + np.exp(-s / 20))
    ce = np.mean(np.logaddexp(0, s) - y * s)
    kd = 20**2 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    own = cell_sums(prediction.features, prediction.fake_logit, batch["label"])
    rep = cell_distance(*own, method.bank_sum_KD, method.bank_count_K).item()
    assert terms == pytest.approx({"detection": ce, "logit": 0.5 * kd + 0.5 * ce, "representation": rep}, rel=1e-3)
    assert kd > 1e-3
    assert rep > 1e-3


def test_the_bank_holds_the_mean_of_what_the_teacher_sees_of_all_rows_so_far() -> None:
    method = drifted().train()
    batches = [make_batch(make_rows(SECOND, 20).pick(torch.arange(start, start + 10))) for start in (0, 10)]
    expected = None
    for batch in batches:
        method.losses(batch)
        sums = cell_sums(*seen_by_teacher(method, batch), batch["label"])
        expected = sums if expected is None else (expected[0] + sums[0], expected[1] + sums[1])
        torch.testing.assert_close((method.bank_sum_KD, method.bank_count_K), expected)
    assert method.bank_count_K.sum() > 0


def test_looking_without_training_leaves_the_bank_and_a_new_task_empties_it() -> None:
    method = drifted().train()
    batch = make_batch(make_rows(SECOND, 10))
    method.losses(batch)
    before = method.bank_count_K.clone()
    method.eval().losses(batch)
    assert torch.equal(method.bank_count_K, before)
    method.begin_task(THIRD)
    assert not method.bank_count_K.any()
    assert not method.bank_sum_KD.any()


def test_rows_that_only_fill_a_process_up_are_in_no_mean() -> None:
    method = drifted().train()
    batch = make_batch(make_rows(SECOND, 10))
    batch["weight"] = torch.zeros(10)
    assert method.losses(batch)["representation"].item() == 0
    assert not method.bank_count_K.any()


@pytest.mark.parametrize("name", ["detection", "logit", "representation"])
def test_a_weight_of_zero_switches_its_term_off(name: str) -> None:
    batch = make_batch(make_rows(SECOND))
    assert set(drifted().losses(batch)) - set(drifted(**{name: 0.0}).losses(batch)) == {name}


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got -1"):
        CoReD(detector=TinyDetector(), alpha=-1)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        CoReD(detector=TinyDetector(), temperature=0)
