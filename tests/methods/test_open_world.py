from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from continual_df.data.dataset import to_unit
from continual_df.data.images import TableImages
from continual_df.data.sampler import PlanBatchSampler
from continual_df.data.stream import Stream, TaskSpec, build_stream
from continual_df.errors import ConfigError
from continual_df.evaluation.open_world import attribution_scores
from continual_df.methods import CPL, OpenLDNLike, OpenWorld, RankStats, SimGCD
from continual_df.methods.open_world import Views
from continual_df.task import Role, Rows
from tests.made_up_tasks import make_batch, make_rows, make_tasks, train_step
from tests.open_world_methods import make, mixed_batch
from tests.toy import write_toy_table

CLASSES: tuple[type[OpenWorld], ...] = (OpenWorld, CPL, RankStats, SimGCD, OpenLDNLike)


@pytest.fixture(scope="module")
def half_labelled(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    table = write_toy_table(tmp_path_factory.mktemp("open"))
    return build_stream(table, [TaskSpec(["columns", "smooth"], unlabelled=["rows"], labelled=0.5)])


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("two_views", [False, True])
def test_every_method_learns_from_labelled_and_unlabelled_rows(cls: type[OpenWorld], two_views: bool) -> None:
    method = make(cls, two_views=two_views)
    batch = mixed_batch(method, second=two_views)
    method.losses(batch)  # epoch 0 of a RankStats ramp has a weight all the same
    terms = train_step(method, torch.optim.Adam([p for p in method.parameters() if p.requires_grad]), batch)
    assert {"supervised", "regulariser"} <= set(terms)
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize("cls", CLASSES)
def test_a_batch_may_hold_labelled_or_unlabelled_rows_alone(cls: type[OpenWorld]) -> None:
    method = make(cls)
    batch = mixed_batch(method)
    for role in (Role.CURRENT, Role.UNLABELLED):
        rows = batch["role"] == role
        part: Any = {name: value[rows] for name, value in batch.items()}  # type: ignore[index]
        assert all(torch.isfinite(value) for value in method.losses(part).values())


@pytest.mark.parametrize("cls", CLASSES)
def test_labels_of_unlabelled_rows_are_never_read(cls: type[OpenWorld]) -> None:
    method = make(cls)
    batch = mixed_batch(method)
    torch.manual_seed(0)
    expected = {name: float(value) for name, value in method.losses(batch).items()}
    batch["label"][6:] = torch.tensor([0, 1, 0, 1])  # of what a batch holds, the class alone could be a label
    torch.manual_seed(0)
    method.zero_grad()
    assert {name: float(value) for name, value in method.losses(batch).items()} == expected


def test_first_losses_are_those_that_numbers_of_classes_tell() -> None:
    # K = 20: CE with a margin .2 on logits near 0, the pair loss and the entropy at log K
    method = make(novel=17, margin=0.2)
    batch = mixed_batch(method, 64)
    terms = method.losses(batch)
    assert float(terms["supervised"]) == pytest.approx(2.8067, abs=0.01)
    assert float(terms["pair"]) == pytest.approx(0.5 * math.log(20), abs=0.01)
    assert float(terms["regulariser"]) == pytest.approx(0, abs=0.01)


def test_a_batch_is_half_labelled_by_class_and_half_not(half_labelled: Stream) -> None:
    method = make(batch_size=6)
    method.unlabelled = [half_labelled.rows(0, "unlabelled")]
    method.begin_task(half_labelled.tasks[0])
    plan = method.batch_plan(half_labelled.tasks[0], [half_labelled.rows(0, "train")])
    sampler = PlanBatchSampler(plan, seed=0, task=0)
    for index in range(len(sampler)):
        draws = sampler.batch(0, index)
        assert [draw.method for draw in draws].count(-1) == 6
        assert {draw.role for draw in draws if draw.method == -1} == {int(Role.UNLABELLED)}
    first = [draw.method for draw in sampler.batch(0, 0)]
    assert [first.count(c) for c in (0, 1, 2)] == [2, 2, 2]


def test_revealed_rows_are_labelled_ones(half_labelled: Stream) -> None:
    method = make(OpenWorld)
    revealed = Stream(
        half_labelled.table, half_labelled.tasks, half_labelled.membership, half_labelled.held_out, revealed=True
    )
    method.unlabelled = [revealed.rows(0, "unlabelled")]
    method.begin_task(revealed.tasks[0])
    (labelled,) = method.batch_plan(revealed.tasks[0], [revealed.rows(0, "train")])
    assert set(labelled.rows.method.tolist()) == {0, 1, 2, 3}


def test_without_reals_no_image_is_called_real() -> None:
    method = make()
    (task,) = make_tasks(["a", "b"])
    rows = make_rows(task, 12)
    fakes = rows.pick(rows.label == 1)
    method.begin_task(task)
    method.batch_plan(task, [fakes])
    terms = method.losses(make_batch(fakes))
    assert all(torch.isfinite(value) for value in terms.values())
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(method.head.classifier.weight_KD.grad).all()
    prediction = method.eval()(torch.rand(5, 3, 16, 16))
    assert (prediction.method_logits.softmax(dim=1)[:, 0] == 0).all()
    assert torch.isfinite(prediction.fake_logit).all()


def test_old_and_novel_heads_stay_when_a_class_is_named() -> None:
    method = make(novel=2)
    first, second = make_tasks(["a", "b"], ["c"])
    method.begin_task(first)
    old = method.head.classifier.weight_KD.detach().clone()
    method.begin_task(second)
    new = method.head.classifier.weight_KD.detach()
    assert torch.equal(new[:3], old[:3])
    assert torch.equal(new[4:], old[3:])
    assert len(new) == 6


def test_a_method_of_two_views_says_that_the_stream_has_one() -> None:
    method = make(two_views=True)
    with pytest.raises(ConfigError, match="second_view"):
        method.losses(mixed_batch(method))


def test_consistency_needs_two_views() -> None:
    with pytest.raises(ValueError, match="two_views"):
        make(consistency=0.2)


def test_a_prior_follows_the_labelled_counts() -> None:
    method = make(novel=2, novel_share=0.5, unlabelled_per_batch=6)
    (task,) = make_tasks(["a", "b"])
    method.unlabelled = [Rows(*(torch.full((4,), value) for value in (9, -1, -1, 0)))]
    method.begin_task(task)
    method.batch_plan(task, [make_rows(task, 8)])  # 4 reals, 2 of each method
    expected = [1 / 6 + 0.25 * 0.5, 1 / 6 + 0.25 * 0.25, 1 / 6 + 0.25 * 0.25, 0.125, 0.125]
    torch.testing.assert_close(method.prior_K, torch.tensor(expected))


def test_the_novel_share_is_that_of_heads_that_have_not_been_merged() -> None:
    method = make(novel=4, novel_share=0.5)
    (task,) = make_tasks(["a"])
    method.unlabelled = [Rows(*(torch.full((4,), value) for value in (9, -1, -1, 0)))]
    method.begin_task(task)
    batch = make_batch(make_rows(task, 8))
    method.batch_plan(task, [make_rows(task, 8)])  # half of a batch is labelled: 3/8 for each class, 1/4 for novel ones
    method.open_K[[2, 4]] = False
    seen: list[Views] = []
    method.open_terms = lambda views: seen.append(views) or {}  # type: ignore[func-returns-value]
    found = method.losses(batch)["regulariser"]
    mean_K = seen[0].logit_BK.softmax(dim=1).mean(dim=0)[[0, 1, 3, 5]]
    prior_K = torch.tensor([3 / 8, 3 / 8, 1 / 8, 1 / 8])
    torch.testing.assert_close(found, (mean_K * (mean_K / prior_K).log()).sum())


def test_a_prior_without_unlabelled_rows_is_refused_by_the_name_of_the_setting() -> None:
    method = make(novel_share=0.5)
    (task,) = make_tasks(["a", "b"])
    method.begin_task(task)
    with pytest.raises(ConfigError, match=r"novel_share is 0\.5"):
        method.batch_plan(task, [make_rows(task, 8)])


def test_the_adaptive_margin_is_how_unsure_the_last_epoch_was() -> None:
    method = make(OpenWorld, margin="adaptive", scale=10.0)
    batch = mixed_batch(method)
    seen: list[Tensor] = []
    method.open_terms = lambda views: seen.append(views.logit_BK[~views.labelled_B]) or {}  # type: ignore[func-returns-value]
    before = float(method.losses(batch)["supervised"])
    method.on_train_epoch_end()
    unsure = 1 - float(seen[0].softmax(dim=1).amax(dim=1).mean())
    assert float(method.unsure) == pytest.approx(unsure, abs=1e-6)
    after = float(method.losses(batch)["supervised"])
    assert after > before if unsure < 0.5 else after == pytest.approx(before)


@pytest.mark.parametrize("pretrain_epochs", [0, 1])
def test_exchanging_the_unlabelled_rows_changes_no_gradient_of_pretraining(pretrain_epochs: int) -> None:
    method = make(
        pretrain_epochs=pretrain_epochs, margin="adaptive", two_views=True, consistency=0.2, merge_from=0, novel=4
    )
    batch = mixed_batch(method, second=True)
    for module in method.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    gradients: list[list[Tensor]] = []
    for _ in range(2):
        method.zero_grad()
        method.losses(batch)
        method.on_train_epoch_end()  # the margin of the next epoch, and its heads
        torch.stack(list(method.losses(batch).values())).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in method.parameters() if p.grad is not None])
        batch["image"][6:], batch["second"][6:] = 1 - batch["image"][6:] ** 2, batch["image"][6:]
    same = all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert same == (pretrain_epochs > 0)
    assert (float(method.unsure) == 1) == (pretrain_epochs > 0)
    assert any(bool(gradient.any()) for gradient in gradients[0])


def test_the_weights_of_the_consistency_turn_round_in_epochs_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(two_views=True, consistency=0.2, consistency_epochs=4)
    asked: list[float] = []
    monkeypatch.setattr(
        "continual_df.methods.cpl.reversing_confidence",
        lambda logit_BK, _other, progress: asked.append(progress) or logit_BK.sum(dim=1),  # type: ignore[func-returns-value]
    )
    batch = mixed_batch(method, second=True)
    for epoch in (0, 1, 3, 9):
        monkeypatch.setattr(CPL, "current_epoch", epoch)
        method.losses(batch)
    assert asked == [0.25, 0.5, 1, 1]
    with pytest.raises(ValueError, match="consistency_epochs must be at least 1, got 0"):
        make(consistency_epochs=0)


def test_pseudo_labels_of_rejected_rows_do_not_count_unless_they_are_not_gated(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(_global: Tensor, _local: Tensor, class_B: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return torch.arange(len(class_B)), class_B >= 0

    monkeypatch.setattr("continual_df.methods.cpl.global_local_vote", reject)
    gated, free = make(), make(gated=False)
    assert float(gated.losses(mixed_batch(gated))["pseudo"]) == 0
    assert float(free.losses(mixed_batch(free))["pseudo"]) > 0


def test_sim_gcd_weighs_its_terms_as_published_and_looks_at_both_views() -> None:
    method = make(SimGCD, two_views=True, warmup_epochs=1)
    batch = mixed_batch(method, second=True)
    seen: list[Views] = []
    own_terms = method.open_terms
    method.open_terms = lambda views: seen.append(views) or own_terms(views)  # type: ignore[func-returns-value]
    terms = method.losses(batch)
    (views,) = seen
    log_p_VBK = torch.stack([views.logit_BK, views.other_BK]).log_softmax(dim=2)
    mean_K = log_p_VBK.exp().mean(dim=(0, 1))
    cross_entropy = -log_p_VBK[:, torch.arange(6), views.class_B[:6]].mean()
    unused = math.log(5) + (mean_K * mean_K.log()).sum()
    torch.testing.assert_close(terms["supervised"], 0.35 * cross_entropy)
    torch.testing.assert_close(terms["regulariser"], 0.65 * 2.0 * unused)
    with pytest.raises(ValueError, match="unsupervised"):
        make(SimGCD, unsupervised=1.5)


def test_the_similarity_net_teaches_nothing_to_the_detector() -> None:
    method = make(OpenLDNLike, pair=0.0, pseudo=0.0, supervised=0.0, regulariser=0.0)
    batch = mixed_batch(method)
    torch.stack(list(method.losses(batch).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert method.detector.filters.weight.grad is None or not method.detector.filters.weight.grad.any()
    assert method.similarity_net.first.weight.grad.any()


@pytest.mark.parametrize("cls", CLASSES)
def test_state_comes_back_and_predicts_the_same(cls: type[OpenWorld], tmp_path: Path) -> None:
    first, second = make_tasks(["a"], ["b"])
    method = make(cls)
    method.begin_task(first)
    method.begin_task(second)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = make(cls)
    other.restore([first, second], torch.load(tmp_path / "state.pt", weights_only=True))
    image = torch.rand(3, 3, 16, 16)
    assert torch.equal(method.eval()(image).method_logits, other.eval()(image).method_logits)
    assert method(image).method_logits.shape == (3, 5)


def test_views_are_those_of_rows_that_count() -> None:
    method = make(OpenWorld)
    batch = mixed_batch(method)
    batch["weight"][-2:] = 0
    seen: list[Views] = []
    method.open_terms = lambda views: seen.append(views) or {}  # type: ignore[func-returns-value]
    method.losses(batch)
    assert len(seen[0].class_B) == len(seen[0].logit_BK) == len(seen[0].local_BPD) == 8


@pytest.mark.parametrize(
    "more", [{"scales": [2, 3]}, {"bands": True}, {"scales": [2, 3], "bands": True, "vote": "index"}]
)
def test_scales_and_bands_vote_on_pairs_and_pseudo_labels(more: dict[str, Any]) -> None:
    method = make(**more)
    terms = train_step(
        method, torch.optim.Adam([p for p in method.parameters() if p.requires_grad]), mixed_batch(method)
    )
    assert all(torch.isfinite(value) for value in terms.values())


def test_one_scale_that_is_the_local_branch_s_votes_as_it_does() -> None:
    one, many = make(patches=2), make(patches=2, scales=[2])
    terms = []
    for method in (one, many):
        batch = mixed_batch(method)
        torch.manual_seed(1)
        terms.append({name: float(value.detach()) for name, value in method.losses(batch).items()})
    assert terms[0] == pytest.approx(terms[1])


def test_scales_and_bands_refuse_rules_that_look_at_no_places() -> None:
    with pytest.raises(ValueError, match="value or by index"):
        make(scales=[2], vote="off")


def train_on_toy(method: OpenWorld, stream: Stream, epochs: int = 30) -> dict[str, float]:
    """Train on the half-labelled toy; return the scores of its test images."""
    pixels = TableImages(stream.table)
    images = {int(sample): to_unit(pixels(int(sample))) for sample in stream.membership["sample"].unique()}

    def image(sample_B: Tensor) -> Tensor:
        return torch.stack([images[int(sample)] for sample in sample_B])

    (task,) = stream.tasks
    method.unlabelled = [stream.rows(0, "unlabelled")]
    method.begin_task(task)
    sampler = PlanBatchSampler(method.batch_plan(task, [stream.rows(0, "train")]), seed=0, task=0)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], 0.03)
    for epoch in range(epochs):
        for index in range(len(sampler)):
            draws = sampler.batch(epoch, index)
            columns = [torch.tensor([getattr(draw, name) for draw in draws]) for name in Rows._fields]
            batch = make_batch(Rows(*columns), images=image)
            train_step(method, optimizer, batch)
        method.on_train_epoch_end()
    sample = stream.test_samples()
    with torch.inference_mode():
        logit_BK = method.eval()(image(torch.from_numpy(sample))).method_logits
    assert logit_BK is not None
    names = stream.table.frame.loc[sample, "method"].map({"real": 0, "columns": 1, "smooth": 2, "rows": 3})
    return attribution_scores(names.to_numpy(), logit_BK.argmax(dim=1).numpy(), known={0, 1, 2})


@pytest.mark.parametrize("cls", [CPL, SimGCD])
def test_a_method_that_nobody_named_gets_a_head_of_its_own(cls: type[OpenWorld], half_labelled: Stream) -> None:
    scores = train_on_toy(make(cls, novel=1, batch_size=12), half_labelled)
    lower = train_on_toy(make(OpenWorld, novel=1, batch_size=12, unlabelled_per_batch=0), half_labelled)
    assert scores["known_acc"] > 0.8
    assert scores["novel_acc_strict"] > 0.8
    assert lower["novel_acc_strict"] < 0.2


def test_a_step_leaves_the_unlabelled_rows_and_their_partners_behind() -> None:
    method = make(vote="off")
    batch = mixed_batch(method)
    method.losses(batch)
    assert method.pairs.sample_U.equal(batch["sample"][6:])
    assert method.pairs.paired_U.all()
    assert (method.pairs.partner_U != method.pairs.sample_U).all()
    assert torch.isin(method.pairs.partner_U, batch["sample"]).all()
