from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from continual_df.memory import (
    Candidates,
    ReplayMemory,
    SelectionRule,
    SparseUniform,
    VendiGreedy,
    select_hard_central,
    select_herding,
    select_reservoir,
    select_sparse_uniform,
)
from continual_df.memory.candidates import collect_candidates
from continual_df.task import Rows, View


def make_rows(num: int, task: int = 0, start: int = 0) -> Rows:
    sample = torch.arange(start, start + num)
    return Rows(sample, sample % 2, (sample % 2) * (task + 1), torch.full_like(sample, task))


class Detector:
    """An `Extract` whose features of row s are random numbers seeded by s, others after a view; it counts what it saw."""

    def __init__(self, num_classes: int = 2) -> None:
        self.num_classes = num_classes
        self.seen = self.most = 0

    def __call__(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        self.seen += rows.num
        self.most = max(self.most, rows.num)
        assert rows.num, "a prediction of no rows has no fields"
        image = torch.stack([self.image(int(sample)) for sample in rows.sample])
        image = image if view is None else view(image, rows.sample)
        said = {
            "features": image.flatten(1)[:, :6],
            "fake_logit": image.flatten(1)[:, 7] - 0.5,
            "method_logits": image.flatten(1)[:, : self.num_classes],
        }
        return {name: said[name].clone() for name in fields}

    @staticmethod
    def image(sample: int) -> Tensor:
        return torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(sample))


def test_rule_gets_what_it_needs_and_nothing_else() -> None:
    rows, extract = make_rows(12), Detector()
    nothing = collect_candidates(rows, select_reservoir, extract)
    assert (nothing.feature_ND, nothing.stability_N, nothing.fake_logit_N) == (None, None, None)
    assert extract.seen == 0
    both = collect_candidates(rows, select_hard_central, extract)
    assert both.stability_N is None
    assert torch.equal(both.given("feature_ND"), extract(rows, ("features",))["features"])
    assert torch.equal(both.given("fake_logit_N"), extract(rows, ("fake_logit",))["fake_logit"])
    assert both.num == 12


def test_stability_compares_features_with_those_of_the_view() -> None:
    rows, extract, rule = make_rows(12), Detector(), SparseUniform(seed=4)
    candidates = collect_candidates(rows, rule, extract)
    feature_ND, shuffled_ND = (extract(rows, ("features",), view)["features"] for view in (None, rule.view))
    assert not torch.equal(feature_ND, shuffled_ND)
    expected_N = torch.nn.functional.cosine_similarity(feature_ND, shuffled_ND, dim=1)
    torch.testing.assert_close(candidates.given("stability_N"), expected_N)


@pytest.mark.parametrize("rule", [SparseUniform(), SparseUniform("released"), select_hard_central, VendiGreedy()])
def test_rows_come_in_chunks_and_each_image_is_seen_at_most_twice(
    rule: SelectionRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collect_candidates(make_rows(50), rule, Detector())
    monkeypatch.setattr("continual_df.memory.candidates.CHUNK_ROWS", 8)
    extract = Detector()
    parts = collect_candidates(make_rows(50), rule, extract)
    assert extract.most == 8
    assert extract.seen <= 2 * 50
    for name in ("feature_ND", "stability_N", "fake_logit_N"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))


def test_selection_and_what_is_stored_cost_at_most_2_2_forward_passes() -> None:
    memory, extract = ReplayMemory(20, per_task=True, rule=SparseUniform()), Detector()
    memory.stored = ("fake_logit", "features")
    for task in range(3):
        memory.update(make_rows(100, task, 100 * task), extract)
    assert memory.rows.num == 60
    assert extract.seen <= 2.2 * 300


def test_a_rule_that_needs_what_there_is_not_is_refused() -> None:
    class Wishful:
        needs = frozenset({"pictures"})

        def __call__(self, candidates: Candidates, budget: int, seed: int) -> Tensor:
            raise AssertionError

    with pytest.raises(ValueError, match=r"can need feature_ND, stability_N, fake_logit_N.*needs .*'pictures'"):
        collect_candidates(make_rows(3), Wishful(), Detector())


def test_memory_of_sur_holds_what_the_formula_selects_of_each_domain() -> None:
    rule, extract = SparseUniform(cells=4), Detector()
    memory = ReplayMemory(9, per_task=True, rule=rule, seed=1)
    for task, start in enumerate((0, 31)):
        rows = make_rows(31, task, start)
        memory.update(rows, extract)
        expected = set()
        own = memory.rows.pick(memory.rows.task == task)
        for label in (0, 1):
            domain = rows.pick(rows.label == label)
            feature_ND, shuffled_ND = (extract(domain, ("features",), view)["features"] for view in (None, rule.view))
            num = int((own.label == label).sum())
            assert num in (4, 5)
            expected |= set(domain.sample[select_sparse_uniform(feature_ND, shuffled_ND, num)].tolist())
        assert set(own.sample.tolist()) == expected


def test_rows_of_a_domain_stand_together_before_the_rule_in_the_order_they_came_in() -> None:
    memory = ReplayMemory(10, rule=select_herding)
    for task, start in enumerate((0, 11)):
        rows = memory.update(make_rows(11, task, start), Detector()).rows
        key = (2 * rows.task + rows.label).tolist()
        assert key == sorted(key)
        new = rows.pick(rows.task == task)
        for label in (0, 1):
            sample = new.sample[new.label == label].tolist()
            assert sample == [one for one in range(start, start + 11) if one % 2 == label]


@pytest.mark.parametrize("per_task", [False, True])
def test_stored_values_stay_as_they_were_when_their_row_was_chosen(per_task: bool) -> None:
    class Drifting(Detector):
        drift = 0.0

        def __call__(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
            return {name: value + self.drift for name, value in super().__call__(rows, fields, view).items()}

    memory, extract = ReplayMemory(12, per_task, select_herding), Drifting()
    memory.stored = ("fake_logit", "features")
    for task in range(3):
        extract.drift = 100.0 * task
        memory.update(make_rows(20, task, 20 * task), extract)
    fresh = Detector()(memory.rows, memory.stored)
    drift_M = 100.0 * memory.rows.task
    assert set(memory.rows.task.tolist()) == {0, 1, 2}
    torch.testing.assert_close(memory.values["fake_logit"], fresh["fake_logit"] + drift_M)
    torch.testing.assert_close(memory.values["features"], fresh["features"] + drift_M[:, None])


def test_lookup_finds_values_by_sample_in_any_order_and_as_often_as_asked() -> None:
    memory, extract = ReplayMemory(10), Detector()
    memory.stored = ("features",)
    memory.update(make_rows(40), extract)
    sample_B = memory.rows.sample[torch.tensor([3, 0, 3, 9])]
    asked = Rows(sample_B, sample_B, sample_B, sample_B)
    assert torch.equal(memory.lookup("features", sample_B), extract(asked, ("features",))["features"])
    assert memory.lookup("features", sample_B[:0]).shape == (0, 6)
    strange = next(sample for sample in range(40) if sample not in memory.rows.sample.tolist())
    with pytest.raises(ValueError, match=rf"the memory holds no features of samples \[{strange}, 99\]"):
        memory.lookup("features", torch.tensor([int(sample_B[0]), strange, 99]))


def test_lookup_in_an_empty_memory_says_that_it_holds_nothing() -> None:
    with pytest.raises(ValueError, match=r"the memory holds no fake_logit of samples \[4\]"):
        ReplayMemory(3).lookup("fake_logit", torch.tensor([4]))


def test_logits_of_classes_that_came_later_are_nan() -> None:
    memory = ReplayMemory(5, per_task=True)
    memory.stored = ("method_logits",)
    memory.update(make_rows(9), Detector(num_classes=2))
    first = memory.values["method_logits"].clone()
    memory.update(make_rows(9, 1, 9), Detector(num_classes=3))
    logit_MC = memory.values["method_logits"]
    assert torch.equal(logit_MC[:5, :2], first)
    assert logit_MC[:5, 2].isnan().all()
    assert not logit_MC[5:].isnan().any()


def test_values_travel_in_a_state_dict_without_pickle(tmp_path: Path) -> None:
    memory = ReplayMemory(5)
    memory.stored = ("fake_logit",)
    memory.update(make_rows(30), Detector())
    torch.save(memory.state_dict(), tmp_path / "memory.pt")
    other = ReplayMemory(5)
    other.load_state_dict(torch.load(tmp_path / "memory.pt", weights_only=True))
    assert torch.equal(other.lookup("fake_logit", memory.rows.sample), memory.values["fake_logit"])


def test_a_task_whose_rows_are_all_remembered_changes_nothing_and_costs_nothing() -> None:
    memory, extract = ReplayMemory(30, rule=SparseUniform()), Detector()
    memory.update(make_rows(10), extract)
    before, seen = memory.rows, extract.seen
    memory.update(make_rows(10, task=1), extract)
    assert all(torch.equal(a, b) for a, b in zip(before, memory.rows, strict=True))
    assert extract.seen == seen


RULES_IN_YAML: dict[str, tuple[Any, dict[str, Any]]] = {
    "continual_df.memory.select_herding": (select_herding, {}),
    "{class_path: continual_df.memory.SparseUniform, init_args: {variant: released, cells: 4}}": (
        SparseUniform,
        {"variant": "released", "cells": 4, "seed": 0},
    ),
    "{class_path: continual_df.memory.VendiGreedy, init_args: {order: 1.5}}": (
        VendiGreedy,
        {"order": 1.5, "kernel": "cosine"},
    ),
}


@pytest.mark.parametrize("rule", list(RULES_IN_YAML))
def test_a_rule_is_named_in_the_yaml_with_its_settings_and_survives_the_recipe(rule: str) -> None:
    parser = ArgumentParser(parser_mode="omegaconf+")
    parser.add_class_arguments(ReplayMemory, "memory")
    once = parser.parse_string(f"memory: {{capacity: 4, rule: {rule}}}")
    again: Any = parser.instantiate(parser.parse_string(parser.dump(once)))
    expected, settings = RULES_IN_YAML[rule]
    made = again.memory.rule
    assert made is expected or type(made) is expected
    assert {name: getattr(made, name) for name in settings} == settings
