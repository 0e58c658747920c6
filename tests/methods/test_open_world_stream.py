from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.memory import ReplayMemory
from continual_df.methods import OpenWorldStream
from continual_df.methods.open_world_stream import FIRST_CLUSTER
from continual_df.task import Batch, Role, Rows, Task, View
from tests.made_up_tasks import Images, extract_of, make_batch, make_rows, make_tasks, train_step
from tests.toy import TinyDetector


def make(**kwargs: Any) -> Any:
    torch.manual_seed(0)
    usual = {"novel": 2, "detector": TinyDetector(), "batch_size": 6, "dropout": 0.0, "patches": 2, "least": 2}
    return OpenWorldStream(**{"memory": ReplayMemory(6, per_task=True), **usual, **kwargs})


def unlabelled_rows(num: int = 6, first: int = 500, task: int = 0) -> Rows:
    nothing = torch.full((num,), -1)
    return Rows(first + torch.arange(num), nothing, nothing, torch.full((num,), task))


def colour(sample_B: Tensor) -> Tensor:
    """Noise whose contrast tells samples of 500 and more, or of the second task's fakes, from all others."""
    images = []
    for sample in sample_B.tolist():
        noise = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(sample))
        new = 500 <= sample < 1000 or (sample >= 1000 and sample % 2 == 1)
        images.append(0.5 + (noise - 0.5) * (1.0 if new else 0.1))
    return torch.stack(images)


def begin(method: OpenWorldStream, task: Task, rows: Rows, unlabelled: Rows, images: Images = colour) -> None:
    method.unlabelled = [*method.unlabelled, unlabelled]
    method.validation = [*method.validation, rows]
    method.begin_task(task)
    method.meet_task(task, rows, extract_of(method, images))


def use_novel_head(method: OpenWorldStream, number: int = 1) -> None:
    """Turn heads so that images of high contrast fall into a novel one."""
    feature_ND = method.eval()(colour(torch.tensor([0, 2, 500, 502]))).features
    with torch.no_grad():
        direction_D = feature_ND[2:].mean(dim=0) - feature_ND[:2].mean(dim=0)
        method.head.classifier.weight_KD.zero_()
        method.head.classifier.weight_KD[method.num_known + number] = direction_D


def after_first_task(**kwargs: Any) -> tuple[Any, list[Task]]:
    """A method for which images of high contrast are the cluster of novel head 1."""
    method = make(**kwargs)
    tasks = make_tasks(["a"], ["b"])
    rows = make_rows(tasks[0])
    begin(method, tasks[0], rows, unlabelled_rows())
    use_novel_head(method)
    method.end_task(tasks[0], rows, extract_of(method, colour))
    return method, tasks


def test_the_bank_holds_known_classes_and_clusters_that_are_large_enough() -> None:
    method, _ = after_first_task()
    assert sorted(method.bank.class_K.tolist()) == [FIRST_CLUSTER - 1, 0, 1]
    few, _ = after_first_task(least=7)
    assert sorted(few.bank.class_K.tolist()) == [0, 1]


def test_a_class_that_gets_a_name_takes_over_its_cluster() -> None:
    method, tasks = after_first_task()
    old_KD = method.head.classifier.weight_KD.detach().clone()
    rows = make_rows(tasks[1])
    named = rows.pick(rows.label == 1)
    begin(method, tasks[1], rows, unlabelled_rows(task=1))
    assert method.matches == {"b": 2 + 1}  # of two known classes, novel head 1 was column 3
    new_KD = method.head.classifier.weight_KD.detach()
    assert torch.equal(new_KD[2], old_KD[3])
    assert torch.equal(new_KD[3], old_KD[2])
    assert not torch.equal(new_KD[4], old_KD[3])
    assert sorted(method.bank.class_K.tolist()) == [0, 1, 2]
    assert (method.eval()(colour(named.sample)).method_logits.argmax(dim=1) == 2).all()


def test_a_class_unlike_all_clusters_gets_a_head_of_its_own() -> None:
    method, tasks = after_first_task()
    rows = make_rows(tasks[1])
    rows = rows._replace(sample=2 * rows.sample)  # all of them even: low contrast
    begin(method, tasks[1], rows, unlabelled_rows(task=1))
    assert method.matches == {}
    assert FIRST_CLUSTER - 1 in method.bank.class_K


def test_remembered_rows_come_back_with_and_without_labels() -> None:
    method, tasks = after_first_task(unknown=ReplayMemory(4, per_task=True), replay_per_batch=3)
    rows = make_rows(tasks[1])
    begin(method, tasks[1], rows, unlabelled_rows(8, 600, task=1))
    current, unlabelled, replayed, unknown = method.batch_plan(tasks[1], [make_rows(tasks[0]), rows])
    assert [source.role for source in (current, unlabelled, replayed, unknown)] == [0, 2, 1, 2]
    assert replayed.rows.num == 6
    assert set(unknown.rows.sample.tolist()) <= set(range(500, 506))
    assert set(unknown.rows.method.tolist()) == {-1}


def test_remembered_images_that_the_task_has_itself_come_once() -> None:
    method, (_, second) = after_first_task(unknown=ReplayMemory(6))
    again = unlabelled_rows(4, first=502, task=1)
    begin(method, second, make_rows(second), again)
    *_, fresh, _, remembered = method.batch_plan(second, [Rows.empty(), make_rows(second)])
    assert fresh.rows.sample.tolist() == again.sample.tolist()
    assert sorted(remembered.rows.sample.tolist()) == [500, 501]


def test_a_stream_without_novel_heads_has_no_clusters() -> None:
    method = make(novel=0)
    (task,) = make_tasks(["a"])
    rows = make_rows(task)
    begin(method, task, rows, unlabelled_rows())
    method.end_task(task, rows, extract_of(method, colour))
    assert sorted(method.bank.class_K.tolist()) == [0, 1]


def test_the_prior_counts_remembered_rows_of_old_classes() -> None:
    method, tasks = after_first_task(
        memory=ReplayMemory(4), unknown=ReplayMemory(4), replay_per_batch=4, novel_share=0.5, unlabelled_per_batch=6
    )
    rows = make_rows(tasks[1], 8)
    begin(method, tasks[1], rows, unlabelled_rows(8, 600, task=1))
    method.memory.rows = make_rows(tasks[0], 4)
    method.batch_plan(tasks[1], [make_rows(tasks[0]), rows])
    # a batch holds 6 labelled rows of real and b, 4 remembered ones of real and a, 6 + 4 without a label; of labelled rows
    # there are 4 + 2 of real, 2 of a and 4 of b
    real, a, b = ((3 + 2) / 20 + 0.25 * 6 / 12, 2 / 20 + 0.25 * 2 / 12, 3 / 20 + 0.25 * 4 / 12)
    torch.testing.assert_close(method.prior_K, torch.tensor([real, a, b, 0.125, 0.125]))
    assert float(method.prior_K.sum()) == pytest.approx(1)


def test_remembered_reals_can_be_real_where_the_task_has_none() -> None:
    method, tasks = after_first_task(memory=ReplayMemory(6))
    rows = make_rows(tasks[1])
    fakes = rows.pick(rows.label == 1)
    begin(method, tasks[1], fakes, unlabelled_rows(task=1))
    method.batch_plan(tasks[1], [make_rows(tasks[0]), fakes])
    assert method.has_real


def test_of_earlier_tasks_the_end_of_a_task_asks_for_what_is_remembered_alone() -> None:
    method, tasks = after_first_task(memory=ReplayMemory(6), unknown=ReplayMemory(4))
    rows, validation = make_rows(tasks[1]), make_rows(tasks[1])._replace(sample=torch.arange(2000, 2006))
    unlabelled = unlabelled_rows(6, 600, task=1)
    begin(method, tasks[1], rows, unlabelled)
    method.validation = [unlabelled_rows(6, 3000), validation]
    remembered = {*method.memory.rows.sample.tolist(), *method.unknown.rows.sample.tolist()}
    kept, calls, extract = method.memory.rows, [], extract_of(method, colour)

    def spy(asked: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        calls.append(set(asked.sample.tolist()))
        return extract(asked, fields, view)

    method.end_task(tasks[1], rows, spy)
    current = {sample for part in (rows, validation, unlabelled) for sample in part.sample.tolist()}
    assert set().union(*calls) <= current | remembered
    old = set(method.memory.rows.sample.tolist()) & set(kept.sample.tolist())
    assert old
    assert calls[-1] == set(validation.sample.tolist()) | old  # what novelty is measured by
    assert len(method.bank.calibration.known_N) == len(calls[-1])


def test_a_cluster_s_prototype_keeps_its_id_and_moves_until_no_images_are_there() -> None:
    method, tasks = after_first_task(momentum=0.75, memory=ReplayMemory(6))
    cluster = FIRST_CLUSTER - 1
    (before,) = method.bank.id_K[method.bank.class_K == cluster].tolist()
    old_D = method.bank.vector_KD[method.bank.class_K == cluster][0].clone()
    rows, unlabelled = make_rows(tasks[0]), unlabelled_rows(6, 700)
    method.unlabelled = [unlabelled]
    method.end_task(tasks[0], rows, extract_of(method, colour))
    (after,) = method.bank.id_K[method.bank.class_K == cluster].tolist()
    assert after == before
    feature_ND = extract_of(method, colour)(unlabelled, ("features",))["features"]
    unit_D = F.normalize(F.normalize(feature_ND, dim=1).mean(dim=0), dim=0)
    moved_D = F.normalize(0.75 * old_D + 0.25 * unit_D, dim=0)
    torch.testing.assert_close(method.bank.vector_KD[method.bank.class_K == cluster][0], moved_D)
    method.unlabelled = [Rows.empty()]
    method.end_task(tasks[0], rows, extract_of(method, colour))
    assert cluster not in method.bank.class_K


def test_a_prototype_stands_for_each_image_once() -> None:
    method, tasks = after_first_task(memory=ReplayMemory(6), unknown=ReplayMemory(6))

    def counts() -> dict[int, int]:
        return dict(zip(method.bank.class_K.tolist(), method.bank.count_K.tolist(), strict=True))

    assert counts() == {0: 3, 1: 3, FIRST_CLUSTER - 1: 6}
    rows = make_rows(tasks[0])
    method.unlabelled = [unlabelled_rows(4, 700)]
    method.end_task(tasks[0], rows._replace(sample=rows.sample + 20), extract_of(method, colour))
    assert counts() == {0: 6, 1: 6, FIRST_CLUSTER - 1: 10}  # remembered ones, which move it too, count no more


def test_novelty_is_high_for_what_is_unlike_known_classes() -> None:
    method, _ = after_first_task()
    method.eval()
    num_known = len(method.bank.calibration.known_N)
    assert float(method(colour(torch.arange(500, 506))).novelty.min()) > num_known / (num_known + 1)  # farther than all
    assert float(method(colour(torch.arange(0, 6))).novelty.mean()) < 0.7


def test_the_teacher_holds_remembered_rows_and_learns_nothing() -> None:
    method, tasks = after_first_task()
    rows = make_rows(tasks[1])
    begin(method, tasks[1], rows, unlabelled_rows(task=1))
    batch: Batch = make_batch(Rows.concat([rows, method.memory.rows]), method.memory.rows.num)
    before = [value.clone() for value in method.teacher.state_dict().values()]
    terms = train_step(method, torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1), batch)
    assert float(terms["feature"].detach()) == pytest.approx(0, abs=1e-9)  # the teacher is a copy still
    terms = train_step(method, torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 0.1), batch)
    assert float(terms["feature"].detach()) > 0
    assert all(torch.equal(a, b) for a, b in zip(before, method.teacher.state_dict().values(), strict=True))


def test_what_was_learnt_comes_back_from_a_state(tmp_path: Any) -> None:
    method, tasks = after_first_task(unknown=ReplayMemory(4))
    begin(method, tasks[1], make_rows(tasks[1]), unlabelled_rows(task=1))
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = make(unknown=ReplayMemory(4))
    other.restore(tasks, torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.matches == method.matches == {"b": 3}
    assert torch.equal(other.bank.vector_KD, method.bank.vector_KD)
    image = colour(torch.arange(498, 504))
    for field in ("method_logits", "novelty", "fake_logit"):
        assert torch.equal(getattr(other.eval()(image), field), getattr(method.eval()(image), field))


def test_unlabelled_roles_are_kept_out_of_the_memory_of_labels() -> None:
    method, _ = after_first_task(unknown=ReplayMemory(4))
    assert (method.memory.rows.method >= 0).all()
    assert (method.unknown.rows.method == -1).all()
    assert int(Role.UNLABELLED) == 2


def test_a_task_that_has_ended_leaves_no_pool() -> None:
    method, tasks = after_first_task(pool=8)
    rows = make_rows(tasks[1])
    begin(method, tasks[1], rows, unlabelled_rows(task=1))
    method.losses(make_batch(rows))
    assert len(method.earlier.sample_M) == 6
    method.end_task(tasks[1], rows, extract_of(method, colour))
    assert method.earlier is None
