from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from continual_df.memory import PrototypeGuided, ReplayMemory, select_reservoir
from continual_df.memory.k_means import k_means
from continual_df.methods import MixedPrototypes
from continual_df.task import Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, train_on
from tests.toy import TinyDetector

FIRST, SECOND, THIRD = make_tasks(["a"], ["b"], ["c"])


def mixed(rule: Any = None, **settings: Any) -> MixedPrototypes:
    torch.manual_seed(0)
    memory = ReplayMemory(8, rule=rule or PrototypeGuided(3))
    return MixedPrototypes(detector=TinyDetector(), memory=memory, **{"num_prototypes": 3, **settings})


def drifted(**settings: Any) -> MixedPrototypes:
    """Return a method in its second task, away from its teacher."""
    method = mixed(**settings)
    train_on(method, [FIRST], num_rows=20)
    method.begin_task(SECOND)
    with torch.no_grad():
        for parameter in method.detector.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return method


MIXED = make_batch(Rows.concat([make_rows(SECOND, 6), make_rows(FIRST, 4)]), replayed=4)


def test_the_terms_are_those_of_the_class() -> None:
    method = drifted(temperature=0.05)
    assert method.teacher is not None
    with torch.no_grad():
        terms = {name: value.item() for name, value in method.losses(MIXED).items()}
        f, g = (module(MIXED["image"]).pooled_BD.double().numpy() for module in (method.detector, method.teacher))
    prototype = method.prototype_TLKD[0].reshape(6, -1).double().numpy()  # three of real, three of fake
    share = []
    for feature in (f, g):
        cosine = feature @ prototype.T / np.outer(np.linalg.norm(feature, axis=1), np.linalg.norm(prototype, axis=1))
        weight = np.exp(cosine / 0.05)
        share.append(weight / weight.sum(axis=1, keepdims=True))
    now, was = share
    own = np.array([now[i, 3 * y : 3 * y + 3].sum() for i, y in enumerate(MIXED["label"].tolist())])
    assert terms["distillation"] == pytest.approx(np.mean((was * np.log(was / now)).sum(axis=1)), rel=1e-3)
    assert terms["assignment"] == pytest.approx(0.1 * -np.log(own[6:]).mean(), rel=1e-3)
    assert terms["distillation"] > 1e-3


@pytest.mark.parametrize("name", ["detection", "distillation", "assignment"])
def test_a_weight_of_zero_switches_its_term_off(name: str) -> None:
    method = drifted()
    terms = set(method.losses(MIXED))
    setattr(method, name, 0.0)
    assert terms - set(method.losses(MIXED)) == {name}


@pytest.mark.parametrize("rule", [PrototypeGuided(3), select_reservoir])
def test_each_task_adds_the_centroids_of_its_reals_and_of_its_fakes(rule: Any) -> None:
    method = mixed(rule)
    _, second = train_on(method, [FIRST, SECOND], num_rows=20)
    assert method.size_TLK.sum(dim=2).tolist() == [[10, 10], [10, 10]]
    before = method.prototype_TLKD[0].clone()
    feature_ND = extract_of(method)(second, ("features",))["features"]
    for label in (0, 1):
        centroid_KD, _ = k_means(feature_ND[second.label == label], 3, method.memory.seed)
        torch.testing.assert_close(method.prototype_TLKD[1, label], centroid_KD)
    train_on(method, [THIRD], num_rows=20)
    assert torch.equal(method.prototype_TLKD[0], before)


def test_fewer_rows_than_prototypes_leave_the_others_out() -> None:
    method = mixed()
    train_on(method, [FIRST], num_rows=4)
    assert (method.size_TLK[0] > 0).sum(dim=1).tolist() == [2, 2]
    method.begin_task(SECOND)
    everything = method.losses(MIXED)
    method.prototype_TLKD[0, :, 2:] = 99  # what no row stands behind is in no loss
    assert all(torch.equal(value, everything[name]) for name, value in method.losses(MIXED).items())


@pytest.mark.parametrize("rule", [PrototypeGuided(3), select_reservoir])
def test_features_are_extracted_once_whether_or_not_the_rule_asks_for_them(rule: Any) -> None:
    method = mixed(rule)
    method.begin_task(FIRST)
    asked: list[Rows] = []

    def extract(rows: Rows, fields: tuple[str, ...], view: Any = None) -> dict[str, torch.Tensor]:
        asked.append(rows)
        return extract_of(method)(rows, fields, view)

    method.end_task(FIRST, make_rows(FIRST, 20), extract)
    assert len(asked) == 1


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="num_prototypes must be at least 1, got 0"):
        mixed(num_prototypes=0)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        mixed(temperature=0)
