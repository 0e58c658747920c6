from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.memory import ReplayMemory
from continual_df.methods import DERpp
from continual_df.task import Batch, Role, Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, train_on
from tests.toy import TinyDetector

TASKS = make_tasks(["a"], ["b"], ["c"])


def derpp(**settings: Any) -> DERpp:
    torch.manual_seed(0)
    return DERpp(memory=ReplayMemory(100), detector=TinyDetector(), **settings)


def in_second_task(replayed: int, **settings: Any) -> tuple[DERpp, Batch]:
    method = derpp(**settings)
    (old,) = train_on(method, TASKS[:1])
    method.begin_task(TASKS[1])
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    picked = old.pick(torch.arange(replayed) % old.num)
    return method, make_batch(Rows.concat([make_rows(TASKS[1]), picked]), replayed)


def test_logits_are_those_of_the_moment_in_which_a_row_was_remembered() -> None:
    method = derpp()
    train_on(method, TASKS[:1])
    first = method.memory.rows
    said = extract_of(method)(first, ("fake_logit",))["fake_logit"]
    with torch.no_grad():
        method.head.bias.add_(1)
    method.begin_task(TASKS[1])
    method.end_task(TASKS[1], make_rows(TASKS[1]), extract_of(method))
    torch.testing.assert_close(method.memory.lookup("fake_logit", first.sample), said)
    second = make_rows(TASKS[1])
    now = extract_of(method)(second, ("fake_logit",))["fake_logit"]
    torch.testing.assert_close(method.memory.lookup("fake_logit", second.sample), now)


@pytest.mark.parametrize("replayed", [4, 5])
def test_the_loss_is_that_of_a_naive_version(replayed: int) -> None:
    method, batch = in_second_task(replayed, alpha=0.3, beta=0.7)
    with torch.no_grad():
        z = method(batch["image"]).fake_logit.numpy().astype(float)
    y = batch["label"].numpy()
    ce = [-np.log(1 / (1 + np.exp(-value if label else value))) for value, label in zip(z, y, strict=True)]
    was = dict(zip(method.memory.rows.sample.tolist(), method.memory.values["fake_logit"].tolist(), strict=True))
    first = range(6, 6 + (replayed + 1) // 2)
    second = range(first.stop, 6 + replayed)
    terms = method.losses(batch)
    assert terms["detection"].item() == pytest.approx(np.mean(ce[:6]), rel=1e-4)
    logits = [[[-x / 2, x / 2] for x in (z[i], was[int(batch["sample"][i])])] for i in first]
    square = [np.mean(np.square(np.subtract(now, then))) for now, then in logits]
    assert terms["logits"].item() == pytest.approx(0.3 * np.mean(square), rel=1e-4)
    assert terms["replay"].item() == pytest.approx(0.7 * np.mean([ce[i] for i in second]), rel=1e-4)


def test_a_batch_holds_two_draws_in_all_as_many_as_replay_has() -> None:
    method = derpp(replay_per_batch=7, batch_size=5)
    seen = train_on(method, TASKS[:1])
    plan = method.batch_plan(TASKS[1], [*seen, make_rows(TASKS[1])])
    assert [(source.role, source.per_batch) for source in plan] == [
        (Role.CURRENT, 5),
        (Role.REPLAY, 4),
        (Role.REPLAY, 3),
    ]


def test_a_process_without_replayed_rows_has_every_term() -> None:
    method, batch = in_second_task(0)
    terms = method.losses(batch)
    assert terms["logits"].item() == terms["replay"].item() == 0
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(("name", "term"), [("alpha", "logits"), ("beta", "replay")])
def test_a_term_of_weight_zero_is_off(name: str, term: str) -> None:
    method, batch = in_second_task(4, **{name: 0.0})
    assert method.losses(batch)[term].item() == 0


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha must be at least 0, got -1"):
        derpp(alpha=-1)
    with pytest.raises(ValueError, match="must be at least 2, got 1"):
        derpp(replay_per_batch=1)
