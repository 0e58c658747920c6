"""What holds for every general method of continual learning."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from continual_df.data.dataset import to_unit
from continual_df.data.images import TableImages
from continual_df.data.stream import Stream
from continual_df.memory import ReplayMemory, select_class_balanced, select_herding
from continual_df.methods import (
    DFIL,
    ERACE,
    HDP,
    CDDBReplay,
    CoReD,
    DERpp,
    Finetune,
    ICaRL,
    LwF,
    Method,
    MixedPrototypes,
    OnlineEWC,
)
from continual_df.methods.replay import Replay
from continual_df.models.detector import Detector
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.task import Rows, Task
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, noise, train_on, train_step, train_task
from tests.toy import METHOD_CLASSES, NoisyDetector, TinyDetector, method_arguments

SIX = make_tasks(["a"], ["b", "c"], ["d"], ["a"], ["e"], ["f"])
"""Six tasks; one brings two methods, one brings an old one again."""

Make = Callable[..., Method]


def make(cls: type[Method], **settings: Any) -> Make:
    def build(detector: Detector | None = None, capacity: int = 24) -> Method:
        torch.manual_seed(0)
        memory: dict[str, Any] = {}
        if issubclass(cls, Replay):
            rule = select_herding if issubclass(cls, ICaRL) else select_class_balanced
            memory["memory"] = ReplayMemory(capacity, rule=rule)
        detector = detector or TinyDetector()
        return cls(detector=detector, batch_size=16, **memory, **settings)

    return build


MAKERS: dict[str, Make] = {
    "icarl": make(ICaRL),
    "icarl nearest mean": make(ICaRL, classifier="nearest_mean"),
    "icarl binary": make(ICaRL, targets="binary"),
    "icarl binary nearest mean": make(ICaRL, targets="binary", classifier="nearest_mean"),
    "icarl without distillation": make(ICaRL, distillation=0.0),
    "der++": make(DERpp),
    "dfil": make(DFIL),
    "cored": make(CoReD),
    "hdp": make(HDP, passes=10, step=0.02, bound=0.15),
    "mixed prototypes": make(MixedPrototypes),
    "cddb binary": make(CDDBReplay, head="binary"),
    "cddb multi-class": make(CDDBReplay, head="multi_class"),
    "cddb multi-task": make(CDDBReplay, head="multi_task"),
    "lwf": make(LwF, distillation=10.0),
    "lwf with a head a task": make(LwF, heads="task", distillation=10.0),
    "er-ace": make(ERACE),
    "ewc": make(OnlineEWC, strength=0.1),
}


TEACHERS = [name for name, build in MAKERS.items() if hasattr(build(), "teacher") and "without" not in name]
"""Those that are held by what the last model says."""


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Make:
    return MAKERS[request.param]


@pytest.mark.parametrize("capacity", [4, 500])
def test_six_tasks_of_any_size_are_learnt_and_predicted(maker: Make, capacity: int) -> None:
    method = maker(capacity=capacity)
    train_on(method, SIX)
    prediction = method.eval()(noise(torch.arange(5)))
    assert prediction.fake_logit.shape == (5,)
    assert torch.isfinite(prediction.fake_logit).all()
    directions_HD = method.decision_directions()
    assert len(directions_HD)
    assert directions_HD.shape[1] == prediction.features.shape[1]
    if prediction.method_logits is not None:
        assert prediction.method_logits.shape == (5, 7)
        assert torch.isfinite(prediction.method_logits).all()


def test_state_after_six_tasks_is_restored_from_the_tasks_and_a_file(maker: Make, tmp_path: Path) -> None:
    method, other = maker(NoisyDetector()), maker(NoisyDetector())
    train_on(method, SIX)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other.restore(SIX, torch.load(tmp_path / "state.pt", weights_only=True))
    image = noise(torch.arange(5))
    assert torch.equal(method.eval()(image).fake_logit, other.eval()(image).fake_logit)
    again, same = other.state_dict(), method.state_dict()
    assert again.keys() == same.keys()
    assert all(torch.equal(again[key].nan_to_num(9), same[key].nan_to_num(9)) for key in same if "extra" not in key)


def test_a_teacher_gets_no_gradient_and_keeps_its_statistics(maker: Make) -> None:
    method = maker(NoisyDetector())
    (old,) = train_on(method, SIX[:1])
    method.begin_task(SIX[1])
    teacher = {name: value.clone() for name, value in method.state_dict().items() if name.startswith("teacher")}
    student = [parameter.clone() for parameter in method.detector.parameters()]
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 1.0)
    train_step(method, optimizer, make_batch(Rows.concat([make_rows(SIX[1]), old]), old.num))
    assert not all(torch.equal(was, now) for was, now in zip(student, method.detector.parameters(), strict=True))
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in teacher.items())
    frozen = [parameter for name, parameter in method.named_parameters() if name.startswith("teacher")]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in frozen)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_teacher_is_the_detector_as_the_last_task_left_it(name: str) -> None:
    method = MAKERS[name](NoisyDetector())
    (rows,) = train_on(method, SIX[:1])
    left = extract_of(method)(rows, ("features",))["features"]
    method.begin_task(SIX[1])
    teacher = method.train().teacher
    assert isinstance(teacher, FrozenCopy)
    assert torch.equal(teacher(make_batch(rows)["image"]).pooled_BD, left)


def test_all_heads_are_trained_and_in_the_checkpoint(maker: Make) -> None:
    method = maker()
    for task in SIX[:3]:
        method.begin_task(task)
    heads = [module for module in method.head.modules() if isinstance(module, nn.Linear)]
    parameters = {id(parameter): name for name, parameter in method.named_parameters()}
    names = {parameters[id(parameter)] for head in heads for parameter in head.parameters()}
    trained = {id(parameter) for group in method.configure_optimizers().param_groups for parameter in group["params"]}
    assert {name for one, name in parameters.items() if one in trained} >= names
    assert set(method.state_dict()) >= names


def test_current_and_replayed_rows_go_through_the_detector_at_once(maker: Make) -> None:
    method = maker()
    (old,) = train_on(method, SIX[:1])
    method.begin_task(SIX[1])
    calls: list[int] = []
    method.detector.register_forward_hook(lambda detector, images, features: calls.append(len(images[0])))
    method.losses(make_batch(Rows.concat([make_rows(SIX[1]), old]), old.num))
    assert len(calls) == 1


def forgetting(method: Method, stream: Stream) -> float:
    """Learn the toy stream, and return the mean loss of AUC of the tasks before the last."""
    pictures = TableImages(stream.table)

    @functools.cache
    def image_of(sample: int) -> Tensor:
        return to_unit(pictures(sample))

    def images(sample_B: Tensor) -> Tensor:
        return torch.stack([image_of(sample) for sample in sample_B.tolist()])

    def auc(task: Task) -> float:
        rows = stream.rows(task.index, "test")
        logit = extract_of(method, images)(rows, ("fake_logit",))["fake_logit"]
        return float(roc_auc_score(rows.label, logit))

    learnt, seen = [], []
    for task in stream.tasks:
        seen.append(stream.rows(task.index, "train"))
        train_task(method, task, seen, epochs=12, lr=0.03, images=images)
        learnt.append(auc(task))
    assert min(learnt) > 0.9
    return float(np.mean([was - auc(task) for was, task in zip(learnt[:-1], stream.tasks[:-1], strict=True)]))


@pytest.fixture(scope="module")
def forgetting_of_finetune(toy_stream: Stream) -> float:
    return forgetting(make(Finetune)(), toy_stream)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "lwf with a head a task"])
def test_it_learns_every_task_and_forgets_less_than_finetune(
    name: str, toy_stream: Stream, forgetting_of_finetune: float
) -> None:
    # left out: heads a task contradict each other on this stream, as its tasks do, and nothing makes them agree
    lost = forgetting(MAKERS[name](), toy_stream)
    assert lost < forgetting_of_finetune - 0.03


@pytest.mark.parametrize("name", METHOD_CLASSES)
def test_every_method_trains_in_bfloat16(name: str) -> None:
    """What rounding makes of the loss is another matter; operators must take the types that autocast hands them."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(Method, "model")
    detector = {"class_path": "tests.toy.TinyDetector"}
    settings = {
        "class_path": f"continual_df.methods.{name}",
        "init_args": {"detector": detector, **method_arguments(name)},
    }
    method: Method = parser.instantiate(parser.parse_object({"model": settings}))["model"]
    with torch.autocast("cpu", torch.bfloat16):
        train_on(method, SIX[:2])
    assert all(torch.isfinite(value).all() for value in method.parameters())
