from __future__ import annotations

import functools

import pytest
import torch
from torch.optim import Adam

from continual_df.data.stream import Stream
from continual_df.errors import NonFiniteLossError
from continual_df.memory import ReplayMemory
from continual_df.methods import Finetune, Joint, Method, Replay
from continual_df.task import Batch, Role, Rows
from tests.toy import TinyDetector


def make_methods() -> dict[str, Method]:
    optimizer = functools.partial(Adam, lr=1e-2)
    return {
        "finetune": Finetune(TinyDetector(), optimizer),
        "joint": Joint(detector=TinyDetector(), optimizer=optimizer),
        "replay": Replay(ReplayMemory(10), detector=TinyDetector(), optimizer=optimizer),
    }


def make_batch(stream: Stream, size: int = 6) -> Batch:
    rows = stream.rows(0, "train").pick(torch.arange(size))
    image, role = torch.rand(size, 3, 16, 16), torch.zeros(size, dtype=torch.long)
    sample, label, method, task = rows
    return Batch(image=image, role=role, sample=sample, label=label, method=method, task=task, weight=torch.ones(size))


@pytest.mark.parametrize("name", list(make_methods()))
def test_every_method_steps_and_predicts(name: str, toy_stream: Stream) -> None:
    method = make_methods()[name]
    method.begin_task(toy_stream.tasks[0])
    terms = method.losses(make_batch(toy_stream))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in method.parameters())
    prediction = method(torch.rand(4, 3, 16, 16))
    assert prediction.fake_logit.shape == (4,)
    assert prediction.features.shape == (4, TinyDetector.num_features)


@pytest.mark.parametrize("name", list(make_methods()))
def test_state_is_tensors_and_plain_values(name: str, toy_stream: Stream, tmp_path: object) -> None:
    method = make_methods()[name]
    method.end_task(toy_stream.tasks[0], toy_stream.rows(0, "train"), lambda rows, fields, view=None: {})
    torch.save(method.state_dict(), f"{tmp_path}/state.pt")
    other = make_methods()[name]
    other.load_state_dict(torch.load(f"{tmp_path}/state.pt", weights_only=True))
    image = torch.rand(2, 3, 16, 16)
    assert torch.equal(method(image).fake_logit, other(image).fake_logit)
    if isinstance(other, Replay):
        assert other.memory.rows.num == 10


def seen_rows(stream: Stream, tasks: int) -> list[Rows]:
    return [stream.rows(task, "train") for task in range(tasks)]


def test_finetune_sees_the_current_task_only(toy_stream: Stream) -> None:
    (source,) = make_methods()["finetune"].batch_plan(toy_stream.tasks[1], seen_rows(toy_stream, 2))
    assert set(source.rows.task.tolist()) == {1}


def test_joint_sees_all_tasks_and_each_image_once(toy_stream: Stream) -> None:
    (source,) = make_methods()["joint"].batch_plan(toy_stream.tasks[2], seen_rows(toy_stream, 3))
    assert source.rows.num == len(set(source.rows.sample.tolist())) == 4 * 24  # the reals return in every task
    assert set(source.rows.method.tolist()) == {0, 1, 2, 3}


def test_joint_is_validated_on_what_it_trains_on_and_each_image_once(toy_stream: Stream) -> None:
    joint, plain = make_methods()["joint"], make_methods()["finetune"]
    for method in (joint, plain):
        method.validation = [toy_stream.rows(task, "val") for task in range(3)]
    rows = joint.validation_rows()
    assert rows.num == len(set(rows.sample.tolist())) == 4 * 8
    assert set(rows.method.tolist()) == {0, 1, 2, 3}
    assert torch.equal(plain.validation_rows().sample, toy_stream.rows(2, "val").sample)


def test_joint_restarts_from_the_initial_weights(toy_stream: Stream) -> None:
    joint = make_methods()["joint"]
    before = {key: value.clone() for key, value in joint.state_dict().items()}
    with torch.no_grad():
        for parameter in joint.parameters():
            parameter.add_(1)
    joint.begin_task(toy_stream.tasks[1])
    assert all(torch.equal(value, before[key]) for key, value in joint.state_dict().items())


def test_replay_draws_all_that_is_remembered_returning_reals_too(toy_stream: Stream) -> None:
    replay = make_methods()["replay"]
    assert isinstance(replay, Replay)
    seen = seen_rows(toy_stream, 2)
    assert len(replay.batch_plan(toy_stream.tasks[0], seen[:1])) == 1
    replay.end_task(toy_stream.tasks[0], seen[0], lambda rows, fields, view=None: {})
    current, remembered = replay.batch_plan(toy_stream.tasks[1], seen)
    assert remembered.role == Role.REPLAY
    assert set(remembered.rows.label.tolist()) == {0, 1}  # all reals of the toy stream return
    assert set(remembered.rows.task.tolist()) == {0}
    assert set(current.rows.task.tolist()) == {1}


def test_a_non_finite_loss_names_task_step_and_rows(toy_stream: Stream) -> None:
    method = make_methods()["finetune"]
    method.begin_task(toy_stream.tasks[0])
    batch = make_batch(toy_stream)
    batch["image"][0] = torch.inf
    with pytest.raises(NonFiniteLossError, match=r"task 1 \('columns'\), step 0.*sample rows \[0, "):
        method.training_step(batch, 0)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Finetune(TinyDetector(), batch_size=0)
    with pytest.raises(ValueError, match="replay_per_batch must be at least 1, got 0"):
        Replay(ReplayMemory(1), 0, detector=TinyDetector())
