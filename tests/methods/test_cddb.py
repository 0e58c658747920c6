from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.memory import ReplayMemory
from continual_df.methods import CDDBReplay
from continual_df.task import Rows
from tests.made_up_tasks import make_batch, make_rows, make_tasks
from tests.toy import TinyDetector

TASKS = make_tasks(["a"], ["b"], ["c"])


def begun(**settings: Any) -> CDDBReplay:
    """Return a method in its third task."""
    torch.manual_seed(0)
    method = CDDBReplay(detector=TinyDetector(), memory=ReplayMemory(8), **settings)
    for task in TASKS:
        method.begin_task(task)
    return method


MIXED = make_batch(Rows.concat([make_rows(TASKS[2], 6), make_rows(TASKS[0], 4), make_rows(TASKS[1], 2)]), replayed=6)


def logits(method: CDDBReplay) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(method.head(method.detector(MIXED["image"]).pooled_BD).double())


def cross_entropy(logit_BC: np.ndarray, class_B: np.ndarray) -> float:
    share_BC = np.exp(logit_BC) / np.exp(logit_BC).sum(axis=1, keepdims=True)
    return float(-np.log(share_BC[np.arange(len(class_B)), class_B]).mean())


def test_classes_are_twice_the_task_plus_the_label() -> None:
    method = begun(head="multi_class")
    class_B = np.array([4, 5, 4, 5, 4, 5, 0, 1, 0, 1, 2, 3])
    (term,) = method.losses(MIXED).values()
    assert term.item() == pytest.approx(cross_entropy(logits(method).reshape(12, 6), class_B), rel=1e-5)


def test_the_binary_head_is_one_for_all_tasks() -> None:
    method = begun(head="binary")
    assert logits(method).shape == (12, 1, 2)
    (term,) = method.losses(MIXED).values()
    assert term.item() == pytest.approx(cross_entropy(logits(method)[:, 0], MIXED["label"].numpy()), rel=1e-5)


def test_multi_task_mixes_both_losses_by_their_shares() -> None:
    classes, both = begun(head="multi_class"), begun(head="multi_task", binary_loss="max", binary_weight=0.3)
    terms = {name: value.item() for name, value in both.losses(MIXED).items()}
    assert terms["detection"] == pytest.approx(0.7 * classes.losses(MIXED)["detection"].item())
    score_BC = (1 / (1 + np.exp(-logits(both)))).max(axis=1)
    own_B = score_BC[np.arange(12), MIXED["label"].numpy()]
    assert terms["binary"] == pytest.approx(0.3 * -np.log(own_B / score_BC.sum(axis=1)).mean(), rel=1e-5)


def test_a_share_of_zero_switches_the_binary_loss_off() -> None:
    method = begun(head="multi_task", binary_weight=0.0)
    assert method.losses(MIXED)["detection"].item() == begun(head="multi_class").losses(MIXED)["detection"].item()
    assert set(method.losses(MIXED)) == {"detection"}


@pytest.mark.parametrize("head", ["binary", "multi_class"])
def test_p_fake_is_the_largest_fake_share_over_both_largest(head: str) -> None:
    method = begun(head=head)
    logit_BTC = logits(method)
    share_BTC = np.exp(logit_BTC) / np.exp(logit_BTC).sum(axis=(1, 2), keepdims=True)
    real_B, fake_B = share_BTC.max(axis=1).T
    with torch.no_grad():
        found = method(MIXED["image"]).fake_logit.sigmoid()
    np.testing.assert_allclose(found.numpy(), fake_B / (real_B + fake_B), rtol=1e-5)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"binary_weight must be in \[0, 1\], got 2"):
        begun(binary_weight=2)
