from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.errors import ConfigError
from continual_df.methods import ClassTransfer, Finetune, Transfer
from continual_df.task import Rows, View
from tests.made_up_tasks import make_batch, make_rows, make_tasks, train_on
from tests.toy import TinyDetector, ToyData
from tests.toy_runs import run

TASKS = make_tasks(["a"], ["b"], ["c"])


def transfer(initial: Any, kind: type[Transfer] = Transfer, **settings: Any) -> Transfer:
    torch.manual_seed(0)
    detector = TinyDetector()
    if initial == "pretrained":
        detector.pretrain_flops = None
    return kind(detector=detector, initial=initial, **settings)


def weights(method: Transfer) -> Tensor:
    return torch.cat([value.detach().flatten() for value in (*method.detector.parameters(), *method.head.parameters())])


def shake(method: Transfer) -> None:
    """Move all weights, as training would."""
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("initial", ["scratch", "pretrained"])
def test_every_task_starts_from_the_first_weights(initial: str) -> None:
    method = transfer(initial)
    first = weights(method)
    for task in TASKS:
        method.begin_task(task)
        assert torch.equal(weights(method), first)
        shake(method)
    assert method.notes() == {"source.json": {"source": 0, "accuracy": {}}}


def test_previous_goes_on_and_is_finetuning() -> None:
    method, plain = transfer("previous"), Finetune(detector=TinyDetector())
    plain.load_state_dict({k: v for k, v in method.state_dict().items() if k.startswith(("detector.", "head."))})
    for learner in (method, plain):
        torch.manual_seed(1)
        train_on(learner, TASKS)
    assert torch.equal(weights(method), weights(plain))  # type: ignore[arg-type]
    assert method.notes()["source.json"]["source"] == 2


class Extract:
    """Features that tell the classes apart as well as the first weight of the detector says: all, or by chance."""

    def __init__(self, method: Transfer) -> None:
        self.method, self.seen = method, []  # type: ignore[var-annotated]

    def __call__(self, rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        assert fields == ("features",)
        mark = next(self.method.detector.parameters()).flatten()[0].item()
        self.seen.append((mark, rows.num))
        rng = np.random.default_rng(rows.num)
        noise = torch.from_numpy(rng.standard_normal((rows.num, 2))).float()
        side = F.one_hot(rows.label, 2).float()
        return {"features": noise + 50 * mark * side}


def mark(method: Transfer, value: float) -> None:
    with torch.no_grad():
        next(method.detector.parameters()).fill_(value)


@pytest.mark.parametrize(
    ("marks", "chosen"),
    [((0.0, 1.0, 0.0), 1), ((0.0, 0.0, 1.0), 2), ((1.0, 0.0, 0.0), 0), ((0.0, 1.0, 1.0), 2)],
    ids=["the first task", "the second", "the start", "the latest of equal ones"],
)
def test_nearest_takes_the_weights_whose_features_fit(marks: tuple[float, ...], chosen: int) -> None:
    method = transfer("nearest")
    mark(method, marks[0])
    method = Transfer(detector=method.detector, initial="nearest")
    extract = Extract(method)
    for task, ends in zip(TASKS[:2], marks[1:], strict=True):
        method.begin_task(task)
        method.validation.append(make_rows(task))
        method.meet_task(task, make_rows(task), extract)
        mark(method, ends)
        method.end_task(task, make_rows(task), extract)
    method.begin_task(TASKS[2])
    method.validation.append(make_rows(TASKS[2]))
    method.meet_task(TASKS[2], make_rows(TASKS[2]), extract)
    assert next(method.detector.parameters()).flatten()[0].item() == marks[chosen]
    found = method.notes()["source.json"]
    assert found["source"] == chosen
    assert [found["accuracy"][str(number)] > 0.9 for number in range(3)] == [bool(value) for value in marks]


def test_nearest_looks_at_no_more_images_than_allowed() -> None:
    method = transfer("nearest", max_train=3, max_val=2)
    extract = Extract(method)
    for task in TASKS[:2]:
        method.begin_task(task)
        method.validation.append(make_rows(task))
        method.meet_task(task, make_rows(task), extract)
        method.end_task(task, make_rows(task), extract)
    assert [num for _, num in extract.seen] == [3, 2, 3, 2]


def test_a_frozen_backbone_neither_learns_nor_moves_its_statistics() -> None:
    method = transfer("previous", freeze_backbone=True)
    before = [value.detach().clone() for value in method.detector.parameters()]
    head = method.head.weight.detach().clone()
    train_on(method, TASKS[:1])
    assert all(torch.equal(a, b) for a, b in zip(method.detector.parameters(), before, strict=True))
    assert not torch.equal(method.head.weight, head)
    assert not method.train().detector.training


def test_smoothed_labels_leave_the_share_to_chance() -> None:
    method, batch = transfer("scratch", label_smoothing=0.2), make_batch(make_rows(TASKS[0]))
    method.begin_task(TASKS[0])
    z = method(batch["image"]).fake_logit.detach().numpy().astype(float)
    target = np.where(batch["label"].numpy() == 1, 0.9, 0.1)
    expected = np.mean(target * np.log1p(np.exp(-z)) + (1 - target) * np.log1p(np.exp(z)))
    assert method.losses(batch)["detection"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("initial", "pretrained"), [("scratch", True), ("pretrained", False)])
def test_a_start_that_contradicts_the_detector_is_refused(initial: Any, pretrained: bool) -> None:
    detector = TinyDetector()
    detector.pretrain_flops = 1e18 if pretrained else 0.0
    with pytest.raises(ConfigError, match=f"initial is '{initial}'"):
        Transfer(detector=detector, initial=initial)


@pytest.mark.parametrize(
    ("name", "value"), [("label_smoothing", 1.0), ("num_neighbours", 0), ("max_train", 0), ("max_val", 0)]
)
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        transfer("previous", **{name: value})


def test_classes_that_the_chosen_weights_do_not_know_begin_anew() -> None:
    method = transfer("nearest", ClassTransfer)
    assert isinstance(method, ClassTransfer)
    tasks = make_tasks(["a"], ["b"], ["b", "a"])
    fresh = transfer("nearest", ClassTransfer)
    for task, value in zip(tasks, (1.0, 0.0, 1.0), strict=True):
        mark(method, value)
        if task.index == 0:  # the start is the best for ever
            method.past.kept = []
            method.past.keep(method._learnt())
        method.begin_task(task)
        fresh.begin_task(task)
        method.validation.append(make_rows(task))
        method.meet_task(task, make_rows(task), Extract(method))
        assert method.source == 0
        assert torch.equal(method.head.weight_CD, fresh.head.weight_CD)
        with torch.no_grad():
            for part in method.head.parts.parameters():
                part.fill_(5.0)
        mark(method, 0.0)
        method.end_task(task, make_rows(task), Extract(method))


def test_classes_of_the_task_alone_compete() -> None:
    method = transfer("previous", ClassTransfer, label_smoothing=0.1)
    for task in make_tasks(["a", "b"], ["c", "a"]):
        method.begin_task(task)
    assert isinstance(method, ClassTransfer)
    assert method.own == [0, 1, 3]
    batch = make_batch(make_rows(task))
    logit = method.head(method.detector(batch["image"]).pooled_BD)[:, [0, 1, 3]].detach().numpy().astype(float)
    log_p = logit - np.log(np.exp(logit).sum(axis=1, keepdims=True))
    place = np.array([{0: 0, 1: 1, 3: 2}[int(c)] for c in batch["method"]])
    expected = -np.mean(0.9 * log_p[np.arange(len(place)), place] + 0.1 * log_p.mean(axis=1))
    assert method.losses(batch)["detection"].item() == pytest.approx(expected, rel=1e-4)


def test_independent_learns_each_task_and_pays_no_selection_and_nearest_chooses_what_helps(
    toy_stream: Stream, tmp_path: Path
) -> None:
    for initial in ("scratch", "nearest"):
        method = transfer(initial, optimizer=functools.partial(Adam, lr=3e-2), batch_size=16)
        results, _ = run(method, ToyData(toy_stream), tmp_path / initial)
        matrix = np.array(results["matrices"]["auc"], dtype=float)
        assert np.diag(matrix[1:]).min() > 0.9
        costs = json.loads((tmp_path / initial / "compute.json").read_text())
        looked = [task["phases"].get("selection", {}).get("flops", 0) for task in costs["tasks"][1:]]
        assert (looked[0], looked[1] > 0, looked[2] > looked[1]) == ((0, initial == "nearest", initial == "nearest"))
    source = json.loads((tmp_path / "nearest" / "tasks" / "3" / "source.json").read_text())
    assert source["accuracy"][str(source["source"])] == max(source["accuracy"].values())
    assert (
        costs["tasks"][3]["stored_bytes"]["past_models"] == 2 * costs["tasks"][1]["stored_bytes"]["past_models"]
    )  # the start among them


def test_class_models_tell_the_classes_of_their_task(toy_stream: Stream, tmp_path: Path) -> None:
    specs = [TaskSpec(["columns", "rows"]), TaskSpec(["smooth", "rows"])]
    stream = build_stream(toy_stream.table, specs, reals="none")
    method = transfer("previous", ClassTransfer, optimizer=functools.partial(Adam, lr=3e-2), batch_size=16)
    run(method, ToyData(stream), tmp_path / "run", epochs=16)
    log = pd.read_csv(tmp_path / "run" / "metrics.csv")
    accuracy = log[log["metric"] == "val/acc"].groupby("task")["value"].last()
    assert accuracy.min() > 0.9
