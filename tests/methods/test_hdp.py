from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.data.stream import Stream
from continual_df.ledger import Ledger
from continual_df.methods import HDP
from continual_df.task import Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, noise, train_task
from tests.toy import NoisyDetector, TinyDetector, ToyData
from tests.toy_runs import run

FIRST, SECOND, THIRD = make_tasks(["a"], ["b"], ["c"])


def hdp(detector: Any = None, **settings: Any) -> HDP:
    torch.manual_seed(0)
    return HDP(detector=detector or TinyDetector(), batch_size=16, **{"replay_per_batch": 4, "step": 0.02, **settings})


def drifted(**settings: Any) -> HDP:
    """Return a method in its third task, with two perturbations, away from its teacher."""
    method = hdp(**settings)
    for task, after in ((FIRST, SECOND), (SECOND, THIRD)):
        method.begin_task(task)
        method.end_task(task, make_rows(task), extract_of(method))
        method.begin_task(after)
    with torch.no_grad():
        for parameter in (*method.detector.parameters(), *method.head.parameters()):
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


def seen_by_detector(method: HDP) -> list[Tensor]:
    seen: list[Tensor] = []
    method.detector.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    return seen


def test_reals_of_the_batch_are_replayed_under_one_old_perturbation_as_fakes() -> None:
    method = drifted(preserve=0.0, logit=0.0)
    seen, batch = seen_by_detector(method), make_batch(make_rows(THIRD, 10))
    terms = method.losses(batch)
    (image,) = seen
    assert torch.equal(image[:10], batch["image"])
    real = batch["image"][::2]  # real, fake, real, ...
    options = [(real[:4] + made).clamp(0, 1) for made in method.perturbations.kept_KCHW]
    assert sum(torch.equal(image[10:], option) for option in options) == 1
    logit = method.head(method.detector(image).pooled_BD).squeeze(1)
    label = torch.cat([batch["label"], torch.ones(4, dtype=torch.long)]).float()
    assert terms["detection"].item() == pytest.approx(F.binary_cross_entropy_with_logits(logit, label).item())


def test_fewer_reals_are_repeated_and_none_count_nothing() -> None:
    method = drifted()
    seen = seen_by_detector(method)
    few = make_batch(make_rows(THIRD, 4))
    method.losses(few)
    assert seen[0].shape[0] == 4 + 4
    assert torch.equal(seen[0][4:6], seen[0][6:8])
    fakes = make_batch(make_rows(THIRD, 12).pick(torch.arange(1, 12, 2)))
    terms = method.losses(fakes)
    logit = method.head(method.detector(fakes["image"]).pooled_BD).squeeze(1)
    expected = F.binary_cross_entropy_with_logits(logit, torch.ones(6)).item()
    assert terms["detection"].item() == pytest.approx(expected)
    assert terms["preserve"].item() == terms["logit"].item() == 0


def test_reals_with_and_without_perturbation_are_held_to_the_last_detector() -> None:
    method = drifted(preserve=0.5, logit=0.25)
    assert method.teacher is not None
    assert method.teacher_head is not None
    seen, batch = seen_by_detector(method), make_batch(make_rows(THIRD, 8))
    terms = {name: value.item() for name, value in method.losses(batch).items()}
    plain, changed = batch["image"][::2], seen[0][8:]
    preserve = kl = 0.0
    for image in (plain, changed):
        with torch.no_grad():
            f, g = method.detector(image).pooled_BD, method.teacher(image).pooled_BD
            q, p = (
                head(x).squeeze(1).sigmoid().double().numpy()
                for head, x in ((method.head, f), (method.teacher_head, g))
            )
        preserve += float(np.mean((f.numpy() - g.numpy()) ** 2))
        kl += float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))
    assert terms["preserve"] == pytest.approx(0.5 * preserve, rel=1e-4)
    assert terms["logit"] == pytest.approx(0.25 * kl, rel=1e-3)
    assert preserve > 1e-3
    assert kl > 1e-4


@pytest.mark.parametrize("name", ["detection", "preserve", "logit"])
def test_a_weight_of_zero_switches_its_term_off(name: str) -> None:
    batch = make_batch(make_rows(THIRD))
    assert set(drifted().losses(batch)) - set(drifted(**{name: 0.0}).losses(batch)) == {name}


def brighter(sample_B: Tensor) -> Tensor:
    """Return noise; the odd ones, which are the fakes, have stripes."""
    stripes = 0.1 * (torch.arange(16) % 2) * (sample_B % 2)[:, None]
    return 0.9 * noise(sample_B) + stripes[:, None, :, None]


def test_reals_of_a_learnt_task_are_called_fake_under_its_perturbation() -> None:
    method = hdp(step=0.02, passes=20, bound=0.2)
    rows = make_rows(FIRST, 40)
    train_task(method, FIRST, [rows], epochs=60, lr=0.05, images=brighter)
    real = brighter(rows.sample[rows.label == 0])
    with torch.no_grad():
        before, after = method(real).fake_logit, method(method.perturbations.put_one_on(real)).fake_logit
    assert (before > 0).float().mean() < 0.3
    assert (after > 0).float().mean() > 0.7
    assert method.perturbations.kept_KCHW.abs().max() <= 0.2


@pytest.mark.parametrize(("bias", "expected"), [(50.0, 1), (-50.0, 3)])
def test_passes_over_the_reals_end_where_enough_are_called_fake(bias: float, expected: int) -> None:
    method = hdp(passes=3, share=0.8)
    torch.nn.init.constant_(method.head.bias, bias)
    method.begin_task(FIRST)
    asked: list[Rows] = []

    def extract(rows: Rows, fields: tuple[str, ...], view: Any = None) -> dict[str, Tensor]:
        asked.append(rows)
        return extract_of(method)(rows, fields, view)

    method.end_task(FIRST, make_rows(FIRST), extract)
    assert len(asked) == expected
    assert all(not rows.label.any() for rows in asked)


def test_making_a_perturbation_leaves_the_detector_as_it_was() -> None:
    method = hdp(NoisyDetector())
    method.begin_task(FIRST)
    before = {name: value.clone() for name, value in method.state_dict().items() if "perturbation" not in name}
    method.end_task(FIRST, make_rows(FIRST), extract_of(method))
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in method.parameters())
    assert set(method.predict_step(make_batch(make_rows(FIRST)), 0)) == {"sample", "fake_logit"}  # predicts again


def test_the_ledger_has_every_step_of_every_pass(toy_stream: Stream, tmp_path: Path) -> None:
    method = hdp(passes=2, share=1.0)
    run(method, ToyData(toy_stream), tmp_path / "run", epochs=1)
    real = torch.rand(24, 3, 16, 16)
    with Ledger().activate() as ledger, ledger.phase("reserve"):
        method.perturbations.push(real, torch.ones(24), lambda x: method.fake_logit(method.detector(x).pooled_BD))
    for task in json.loads((tmp_path / "run" / "compute.json").read_text())["tasks"][1:]:
        assert task["phases"]["reserve"]["flops"] == pytest.approx(2 * ledger.cost().flops)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        hdp(passes=0)
    with pytest.raises(ValueError, match="replay_per_batch must be at least 1, got 0"):
        hdp(replay_per_batch=0)
    with pytest.raises(ValueError, match=r"share must be above 0 and at most 1, got 1\.5"):
        hdp(share=1.5)
