from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from continual_df.audit.probe import FEW, Probe, out_of_fold, probe


def made_up(
    shift: float, num: int = 200, seed: int = 0, test_shift: float | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Two classes of ``num`` images, half of them test; ``telltale`` differs by ``shift`` standard deviations."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], num)
    split = np.tile(np.repeat(["train", "test"], num // 2), 2).astype(object)
    strength = np.where(split == "test", shift if test_shift is None else test_shift, shift)
    features = pd.DataFrame(
        {"noise": rng.normal(size=2 * num), "telltale": rng.normal(size=2 * num) + strength * label, "same": 1.0}
    )
    group = np.array([f"g{i}" for i in range(2 * num)], dtype=object)
    return features, {"label": label, "split": split, "group": group}


def run(features: pd.DataFrame, rows: dict[str, Any]) -> Probe:
    return probe(features, rows["label"], rows["split"], rows["group"], seed=0)


def test_auc_is_that_of_two_normal_distributions() -> None:
    # two normals one standard deviation apart: AUC = Phi(1 / sqrt 2) = .760
    found = run(*made_up(1.0, num=1000))
    assert found.test is not None
    assert found.test.value == pytest.approx(0.760, abs=0.03)
    assert found.test.low < 0.76 < found.test.high
    assert found.folds == pytest.approx(0.760, abs=0.03)


def test_classes_that_do_not_differ_give_one_half() -> None:
    found = run(*made_up(0.0, num=1000))
    assert found.auc == pytest.approx(0.5, abs=0.04)
    assert found.folds == pytest.approx(0.5, abs=0.04)


def test_the_feature_that_tells_comes_first_and_constant_ones_not_at_all() -> None:
    found = run(*made_up(2.0))
    assert [name for name, _ in found.features] == ["telltale", "noise"]
    assert found.features[0][1] > 0.9


def test_direction_comes_from_train_so_that_an_auc_may_be_below_one_half() -> None:
    found = run(*made_up(2.0, test_shift=-2.0))
    assert found.test is not None
    assert found.test.value < 0.1
    assert found.features[-1][0] == "telltale"
    assert found.features[-1][1] < 0.1


def test_constant_features_are_no_shortcut_and_no_crash() -> None:
    features, rows = made_up(1.0)
    found = run(features[["same"]], rows)
    assert found.test is not None
    assert (found.test.value, found.folds, found.features) == (0.5, 0.5, ())
    assert "every statistic is constant" in found.notes
    assert run(features[[]], rows).auc == 0.5


def test_a_feature_that_varies_in_test_only_does_not_crash() -> None:
    features, rows = made_up(1.0)
    features["late"] = np.where(rows["split"] == "test", np.arange(len(features)), 0)
    assert run(features, rows).test is not None


@pytest.mark.parametrize("num", [4, 2 * FEW - 2])
def test_few_images_are_measured_and_said(num: int) -> None:
    found = run(*made_up(3.0, num=num))
    assert found.test is not None
    assert not np.isnan(found.test.value)
    assert f"few images in test: {num // 2} and {num // 2}" in found.notes


def test_enough_images_are_not_called_few() -> None:
    assert run(*made_up(1.0, num=2 * FEW)).notes == ()


def test_without_training_rows_folds_answer() -> None:
    features, rows = made_up(2.0)
    rows["split"][:] = "test"
    found = run(features, rows)
    assert found.test is None
    assert found.auc == found.folds
    assert found.folds is not None
    assert found.folds > 0.85
    assert found.features[0][0] == "telltale"
    assert found.notes == ("one side has no images in train: folds by group only",)


def test_one_group_a_class_is_said_to_be_too_little() -> None:
    features, rows = made_up(2.0, num=4)
    rows["split"][:] = ""
    rows["group"][:] = np.where(rows["label"] == 1, "a", "b")
    found = run(features, rows)
    assert (found.auc, found.features) == (None, ())
    assert "too few groups for folds" in found.notes


def test_folds_never_fit_to_the_group_that_they_judge() -> None:
    """A feature that is the group's name in disguise, with a random class a group: only a leak could use it."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(60), 10)
    side = rng.permutation(np.repeat([0, 1], 30))
    value = np.eye(60)[code]
    label = side[code]
    group = np.array([f"g{i}" for i in code], dtype=object)
    score = out_of_fold(value, label, group, seed=0)
    assert score is not None
    assert roc_auc_score(label, score) < 0.65
    alone = out_of_fold(value, label, np.arange(600).astype(object), seed=0)
    assert alone is not None
    assert roc_auc_score(label, alone) > 0.95


@pytest.mark.parametrize("kinds", ["01", "0011", "00b11", "b", "0b", "bbbbbbbb1", "0000000001b"])
@pytest.mark.parametrize("seed", range(3))
def test_folds_are_made_as_long_as_each_side_has_two_groups(kinds: str, seed: int) -> None:
    """Groups of reals (0), fakes (1) or both (b), of one to three images a side."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"g{number}", side)
        for number, kind in enumerate(kinds * 2)
        for side in ((0, 1) if kind == "b" else (int(kind),))
        for _ in range(rng.integers(1, 4))
    ]
    group = np.array([name for name, _ in rows], dtype=object)
    label = np.array([side for _, side in rows])
    score = out_of_fold(rng.normal(size=(len(rows), 2)), label, group, seed)
    assert score is not None
    assert np.isfinite(score).all()


def test_the_same_seed_gives_the_same_result() -> None:
    assert run(*made_up(1.0)) == run(*made_up(1.0))


def test_order_of_rows_does_not_change_the_auc_on_test() -> None:
    features, rows = made_up(1.0)
    order = np.random.default_rng(1).permutation(len(features))
    turned = run(features.iloc[order], {name: value[order] for name, value in rows.items()})
    assert turned.auc == pytest.approx(run(features, rows).auc, abs=1e-6)
