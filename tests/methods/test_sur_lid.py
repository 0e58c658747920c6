from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.losses.isolation import IsolationLoss
from continual_df.memory import ReplayMemory, SparseUniform, select_reservoir
from continual_df.methods import SURLID, Finetune
from continual_df.models.alignment import RELEASED_RATES
from continual_df.models.detector import Detector
from continual_df.task import Batch, Role, Rows, Task
from tests.toy import NoisyDetector, TinyDetector, ToyData
from tests.toy_runs import run

OPTIMIZER = functools.partial(Adam, lr=3e-2)


def make(detector: Detector | None = None, capacity: int = 12, **kwargs: Any) -> SURLID:
    torch.manual_seed(0)
    memory = ReplayMemory(capacity, per_task=True, rule=kwargs.pop("rule", SparseUniform()))
    return SURLID(memory=memory, detector=detector or TinyDetector(), optimizer=OPTIMIZER, batch_size=16, **kwargs)


def task(index: int, real_domain: int | None = None) -> Task:
    return Task(index, str(index), (f"m{index}",), real_domain=index if real_domain is None else real_domain)


def batch_of(tasks: list[int], labels: list[int], roles: list[Role]) -> Batch:
    num = len(tasks)
    image = torch.rand(num, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    label, method = torch.tensor(labels), torch.tensor(labels)
    return Batch(
        image=image,
        label=label,
        method=method,
        task=torch.tensor(tasks),
        role=torch.tensor([int(role) for role in roles]),
        sample=torch.arange(num),
        weight=torch.ones(num),
    )


MIXED = (
    [2, 2, 2, 2, 0, 0, 0, 1, 1, 1],
    [0, 0, 1, 1, 0, 0, 1, 0, 1, 1],
    [Role.CURRENT] * 4 + [Role.REPLAY] * 6,
)
"""Four current rows of the third task, six replayed ones of the two before."""


def begun(num_tasks: int = 3, **kwargs: Any) -> SURLID:
    method = make(**kwargs)
    for index in range(num_tasks):
        method.begin_task(task(index))
    return method


def terms_of(method: SURLID, batch: Batch) -> dict[str, float]:
    return {name: float(value) for name, value in method.losses(batch).items()}


def test_heads_are_trained_by_the_optimizer_and_are_in_the_checkpoint() -> None:
    method = begun()
    heads = [parameter for name, parameter in method.named_parameters() if name.startswith("head.")]
    assert len(heads) == 6
    known = {id(p) for group in method.configure_optimizers().param_groups for p in group["params"]}
    assert {id(parameter) for parameter in heads} <= known
    assert sum(name.startswith("head.") for name in method.state_dict()) == 6


def test_the_optimizer_is_fresh_in_every_task() -> None:
    method = begun(1)
    first = method.configure_optimizers()
    method.begin_task(task(1))
    second = method.configure_optimizers()
    assert first is not second
    assert len(second.param_groups[0]["params"]) > len(first.param_groups[0]["params"])
    assert not second.state


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_teacher_gets_no_gradient_and_keeps_its_batch_statistics(variant: Any) -> None:
    method = begun(detector=NoisyDetector(), variant=variant, rule=select_reservoir).train()
    assert method.teacher is not None
    before = {key: value.clone() for key, value in method.teacher.state_dict().items()}
    torch.stack(list(method.losses(batch_of(*MIXED)).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert not method.teacher.module.training
    assert all(torch.equal(value, before[key]) for key, value in method.teacher.state_dict().items())
    frozen = [*method.teacher.parameters(), *method.teacher_head.parameters()]  # type: ignore[union-attr]
    assert all(parameter.grad is None for parameter in frozen)
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)


def test_the_teacher_is_the_detector_as_the_last_task_left_it() -> None:
    method = begun(1)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(1)
    left = {key: value.clone() for key, value in method.detector.state_dict().items()}
    method.begin_task(task(1))
    assert method.teacher is not None
    assert all(torch.equal(value, left[key]) for key, value in method.teacher.module.state_dict().items())


def test_each_row_is_judged_by_the_head_of_its_task() -> None:
    method, batch = begun(isolation=0, feature=0, detection=2.0), batch_of(*MIXED)
    feature_BD = method.detector(batch["image"]).pooled_BD
    losses = []
    for row, (index, label) in enumerate(zip(MIXED[0], MIXED[1], strict=True)):
        logit = method.head.heads[index](feature_BD[row : row + 1])
        losses.append(nn.functional.cross_entropy(logit, torch.tensor([label])).item())
    assert terms_of(method, batch) == {"detection": pytest.approx(2 * np.mean(losses), rel=1e-5)}


def test_the_score_is_the_softmax_of_the_mean_logits() -> None:
    method, image = begun(), torch.rand(4, 3, 16, 16)
    feature_BD = method.detector(image).pooled_BD
    mean_BC = torch.stack([head(feature_BD) for head in method.head.heads]).mean(dim=0)
    assert torch.allclose(method(image).fake_logit.sigmoid(), mean_BC.softmax(dim=1)[:, 1], atol=1e-6)


def test_isolation_is_over_task_and_label_and_shared_reals_are_one_domain() -> None:
    batch = batch_of(*MIXED)
    for shared in (False, True):
        method = make(detection=0, feature=0, refill=False, isolation=1.0, temperature=0.5)
        for index in range(3):
            method.begin_task(task(index, 0 if shared else index))
        feature_BD = method.detector(batch["image"]).pooled_BD
        domain_B = [0 if label == 0 and shared else 10 * index + label for index, label in zip(*MIXED[:2], strict=True)]
        expected = IsolationLoss(0.5)(feature_BD, torch.tensor(domain_B))
        assert terms_of(method, batch) == {"isolation": pytest.approx(float(expected), rel=1e-5)}


def test_feature_distillation_is_over_replayed_rows_alone() -> None:
    method, batch = begun(detection=0, isolation=0, feature=3.0), batch_of(*MIXED)
    with torch.no_grad():
        method.detector.get_parameter("filters.weight").mul_(1.5)
    assert method.teacher is not None
    difference_BD = method.detector(batch["image"]).pooled_BD - method.teacher(batch["image"]).pooled_BD
    expected = 3 * float(difference_BD[4:].square().mean())
    assert expected > 0.01
    assert terms_of(method, batch) == {"feature": pytest.approx(expected, rel=1e-5)}


def test_every_term_can_be_switched_off_and_the_first_task_has_no_teacher() -> None:
    batch = batch_of([0] * 4, [0, 0, 1, 1], [Role.CURRENT] * 4)
    assert set(terms_of(begun(1), batch)) == {"detection", "isolation"}
    assert set(terms_of(begun(1, variant="released"), batch)) == {"detection"}
    assert set(terms_of(begun(), batch_of(*MIXED))) == {"detection", "isolation", "feature"}
    every = {"detection", "isolation", "feature", "logit"}
    for name in every:
        off: dict[str, Any] = {name: 0.0}
        assert set(terms_of(begun(variant="released", **off), batch_of(*MIXED))) == every - {name}


def test_the_terms_are_the_same_without_replayed_rows() -> None:
    batch = batch_of([2] * 4, [0, 0, 1, 1], [Role.CURRENT] * 4)  # what a process may be given of a short batch
    assert terms_of(begun(), batch)["feature"] == 0
    assert set(terms_of(begun(variant="released"), batch)) == {"detection", "isolation", "feature", "logit"}


def test_refilling_draws_on_the_centroid_and_is_beside_the_replayed_rows_or_in_their_place() -> None:
    seen: list[Tensor] = []

    class Spy(IsolationLoss):
        def forward(self, feature_BD: Tensor, domain_B: Tensor) -> Tensor:
            seen.append(domain_B)
            return super().forward(feature_BD, domain_B)

    for variant, num in (("paper", 16), ("released", 10)):
        method = begun(variant=variant)
        method.isolation_loss = Spy()
        method.losses(batch_of(*MIXED))
        assert len(seen.pop()) == num


@pytest.mark.parametrize("accumulated", [1, 3])
def test_heads_are_aligned_once_for_each_step_of_the_optimizer(
    accumulated: int, toy_stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def align(weight_TCD: Tensor, rate: float) -> Tensor:
        calls.append(len(weight_TCD))
        return weight_TCD

    monkeypatch.setattr("continual_df.methods.sur_lid.align_heads", align)
    _, trainers = run(make(), ToyData(toy_stream), tmp_path / "run", epochs=2, accumulate_grad_batches=accumulated)
    assert len(calls) == sum(trainer.global_step for trainer in trainers)
    assert set(calls) == {1, 2, 3}


def test_released_heads_turn_from_the_third_epoch_on_and_none_where_it_is_off(
    toy_stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[tuple[float, ...]] = []

    def turn(weight_TCD: Tensor, given: tuple[float, ...]) -> Tensor:
        rates.append(given)
        return weight_TCD

    monkeypatch.setattr("continual_df.methods.sur_lid.align_heads_released", turn)
    for number, factor in enumerate((2.0, 0.0)):
        method = make(variant="released", align=factor)
        run(method, ToyData(toy_stream), tmp_path / str(number), epochs=3)
    steps = -(-48 // 16)  # of one epoch of each of three tasks
    assert rates == [tuple(2 * rate for rate in RELEASED_RATES)] * 3 * steps


def test_alignment_acts_on_what_is_trained_and_brings_heads_together(toy_stream: Stream, tmp_path: Path) -> None:
    def angle(align: float) -> float:
        method = make(align=align)
        run(method, ToyData(toy_stream), tmp_path / str(align), epochs=4)
        direction_TD = nn.functional.normalize(method.decision_directions(), dim=1)
        return float((direction_TD @ direction_TD.T).min())

    assert angle(0.2) > angle(0.0) + 0.1


def test_three_rows_of_each_old_domain_are_replayed_or_a_fixed_number(toy_stream: Stream) -> None:
    seen = [toy_stream.rows(index, "train") for index in range(3)]
    for method, expected in ((make(), [0, 6, 12]), (make(replay_per_batch=5), [0, 5, 5])):
        for index in range(3):
            plan = method.batch_plan(task(index), seen[: index + 1])
            assert sum(source.per_batch for source in plan[1:]) == expected[index]
            method.memory.rows = Rows.concat([seen[i].pick(torch.arange(0, 48, 5)) for i in range(index + 1)])


def test_centroids_are_means_of_a_tasks_reals_and_fakes(toy_stream: Stream) -> None:
    method, rows = begun(1, capacity=4), toy_stream.rows(0, "train")
    features = torch.randn(rows.num, 8)

    def extract(rows: Rows, fields: tuple[str, ...], view: object = None) -> dict[str, Tensor]:
        place = torch.searchsorted(toy_stream.rows(0, "train").sample, rows.sample)
        return {name: features[place] + (view is not None) for name in fields}

    method.end_task(toy_stream.tasks[0], rows, extract)
    for label in (0, 1):
        assert torch.allclose(method.centroid_TLD[0, label], features[rows.label == label].mean(dim=0), atol=1e-6)
    assert method.memory.rows.num == 4


def test_it_forgets_less_than_finetuning(toy_stream: Stream, tmp_path: Path) -> None:
    torch.manual_seed(0)
    finetune = Finetune(TinyDetector(), OPTIMIZER, batch_size=16)
    kept, _ = run(make(), ToyData(toy_stream), tmp_path / "sur_lid")
    lost, _ = run(finetune, ToyData(toy_stream), tmp_path / "finetune")
    assert kept["summary"]["auc"]["forgetting"] < lost["summary"]["auc"]["forgetting"] - 0.1
    assert kept["summary"]["auc"]["average"] > lost["summary"]["auc"]["average"] + 0.1


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_six_tasks_smaller_than_the_budget_work(variant: Any, toy_stream: Stream, tmp_path: Path) -> None:
    specs = [TaskSpec([name], name=f"{name} {turn}") for turn in range(2) for name in ("columns", "smooth", "rows")]
    stream = build_stream(toy_stream.table, specs, reals="reuse", max_images={"train": 5})
    method = make(variant=variant, capacity=500)
    results, _ = run(method, ToyData(stream), tmp_path / "run", epochs=1)
    assert len(method.head.heads) == 6
    assert np.isfinite(np.array(results["matrices"]["auc"], dtype=float)).all()
    assert method.memory.rows.num == len(set(method.memory.rows.sample.tolist())) == 20  # returning images count once


def test_a_restored_method_predicts_the_same(toy_stream: Stream, tmp_path: Path) -> None:
    method = make()
    run(method, ToyData(toy_stream), tmp_path / "run", epochs=1)
    saved = torch.load(next((tmp_path / "run/tasks/3").glob("*.ckpt")), weights_only=True)["state_dict"]
    other = make()
    other.restore(toy_stream.tasks, saved)
    image = torch.rand(5, 3, 16, 16)
    assert torch.equal(method.eval()(image).fake_logit, other.eval()(image).fake_logit)
    assert torch.equal(method.centroid_TLD, other.centroid_TLD)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="replay_per_domain must be at least 1, got 0"):
        make(replay_per_domain=0)


def test_no_replayed_row_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="replay_per_batch must be at least 1, got 0"):
        make(replay_per_batch=0)
