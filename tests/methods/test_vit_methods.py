"""S-Prompts and the DevFD-like method: what learns without replay on a frozen ViT."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.data.frame_table import FrameTable
from continual_df.data.stream import TaskSpec, build_stream
from continual_df.methods import DevFDLike, Finetune, Method, SPrompts
from continual_df.models.detector import TimmDetector
from continual_df.models.heads import fake_margin
from continual_df.task import Rows
from tests.made_up_tasks import extract_of, make_batch, make_rows, make_tasks, noise, train_on, train_task
from tests.toy import TINY_VIT, ToyData
from tests.toy_runs import run

TASKS = make_tasks(["a"], ["b"], ["c"])


def make(cls: type[Method], lr: float = 1e-2, vit: dict[str, Any] = TINY_VIT, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    optimizer = functools.partial(torch.optim.Adam, lr=lr)
    return cls(detector=TimmDetector(**vit), optimizer=optimizer, batch_size=16, **kwargs)


def learning(method: Method) -> set[str]:
    """Return what learns, without the place of its layer."""
    names = [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    return {name.rpartition("mlp.")[2].partition(".")[2] if "mlp." in name else name for name in names}


def under(method: SPrompts, task: int, image: Tensor) -> Tensor:
    """Return the logits of ``image`` under the prompt and the head of ``task``."""
    feature_BD = method.eval().detector(image, torch.full((len(image),), task)).pooled_BD
    return fake_margin(method.head(feature_BD))[:, task].detach()


def test_in_each_task_of_s_prompts_its_prompt_and_its_head_learn_alone() -> None:
    method = make(SPrompts)
    for task in TASKS:
        method.begin_task(task)
        k = task.index
        assert learning(method) == {f"detector.prompts.{k}", f"head.heads.{k}.weight", f"head.heads.{k}.bias"}


def test_later_tasks_leave_every_bit_of_an_earlier_prompt_head_and_key() -> None:
    method = make(SPrompts, num_keys=2)
    image = noise(torch.arange(4))
    train_on(method, TASKS[:1])
    logit, keys = under(method, 0, image), method.keys.key_TKD[0].clone()
    train_on(method, TASKS[1:])
    assert torch.equal(under(method, 0, image), logit)
    assert torch.equal(method.keys.key_TKD[0], keys)


def test_an_image_goes_through_the_prompt_and_head_of_its_nearest_key() -> None:
    method = make(SPrompts, num_keys=6)
    seen = train_on(method, TASKS)
    for task, rows in enumerate(seen):  # each row is a key of its task
        image = noise(rows.sample)
        torch.testing.assert_close(method.eval()(image).fake_logit.detach(), under(method, task, image))
        assert not torch.allclose(under(method, task, image), under(method, (task + 1) % 3, image))


def test_while_a_task_trains_its_images_go_through_its_own_prompt() -> None:
    method = make(SPrompts, num_keys=6)
    (rows,) = train_on(method, TASKS[:1])
    method.begin_task(TASKS[1])
    image = noise(rows.sample)  # the very images whose keys task 0 has
    torch.testing.assert_close(method.eval()(image).fake_logit.detach(), under(method, 1, image))


def test_s_prompts_trains_the_cross_entropy_of_the_newest_head() -> None:
    method = make(SPrompts)
    train_on(method, TASKS[:1])
    method.begin_task(TASKS[1])
    batch = make_batch(make_rows(TASKS[1]))
    terms = method.losses(batch)
    logit_BC = method.head(method.detector(batch["image"]).pooled_BD)[:, 1]
    assert list(terms) == ["detection"]
    torch.testing.assert_close(terms["detection"], F.cross_entropy(logit_BC, batch["label"]))


def test_features_of_s_prompts_are_those_of_the_frozen_vit() -> None:
    method = make(SPrompts)
    plain = TimmDetector(**TINY_VIT).eval()
    plain.load_state_dict(method.detector.vit.state_dict())
    rows = train_on(method, TASKS)[0]
    found = extract_of(method)(rows, ("features",))["features"]
    torch.testing.assert_close(found, plain(noise(rows.sample)).pooled_BD.detach())
    assert method.decision_directions().shape == (0, plain.num_features)


def test_in_each_task_of_dev_fd_the_head_the_real_lora_and_its_fake_lora_learn() -> None:
    method = make(DevFDLike)
    for task in TASKS:
        method.begin_task(task)
        fake = f"down.{task.number}", f"up.{task.number}"
        assert learning(method) == {"head.weight", "head.bias", "down.0", "up.0", *fake}


def test_later_tasks_leave_every_bit_of_earlier_fake_loras_and_of_the_backbone() -> None:
    method = make(DevFDLike)
    train_on(method, TASKS[:1])
    kept = {name: value.clone() for name, value in method.state_dict().items() if name.startswith("detector.")}
    kept = {name: value for name, value in kept.items() if not name.endswith((".down.0", ".up.0"))}
    train_on(method, TASKS[1:])
    state = method.state_dict()
    assert all(torch.equal(state[name], value) for name, value in kept.items())
    assert sum(".up.1" in name for name in kept) == len(method.detector.layers)


def test_the_orthogonality_loss_is_the_weighted_sum_over_layers_and_earlier_tasks() -> None:
    method = make(DevFDLike, rank=2, orthogonality_weight=0.7)
    expected = 0.0
    for task in TASKS:
        method.begin_task(task)
    for layer in method.detector.layers:
        down = [value.detach().double().numpy() for value in layer.down]
        expected += sum(float(((down[3] @ earlier.T) ** 2).sum()) for earlier in down[1:3])
    terms = method.losses(make_batch(make_rows(TASKS[2])))
    assert list(terms) == ["detection", "orthogonality"]
    assert terms["orthogonality"].item() == pytest.approx(0.7 * expected, rel=1e-5)


def test_the_orthogonality_loss_is_there_and_zero_in_the_first_task() -> None:
    method = make(DevFDLike)
    method.begin_task(TASKS[0])
    assert method.losses(make_batch(make_rows(TASKS[0])))["orthogonality"].item() == 0


def overlap(weight: float) -> float:
    """Return the mean squared cosine of directions of the second task and of the first."""
    method = make(DevFDLike, rank=2, orthogonality_weight=weight)
    seen: list[Rows] = []
    for task in TASKS[:2]:
        seen.append(make_rows(task, 16))
        train_task(method, task, seen, epochs=15, lr=0.01)
    pairs = [(F.normalize(new, dim=1), F.normalize(earlier, dim=1)) for new, earlier in method.detector.directions()]
    return float(np.mean([float((new @ earlier.T).square().mean().detach()) for new, earlier in pairs]))


def test_the_weight_turns_fake_loras_away_from_each_other() -> None:
    assert overlap(1.0) < 0.1 * overlap(0.0)


@pytest.mark.parametrize("cls", [SPrompts, DevFDLike])
def test_a_method_comes_back_from_tasks_and_state(cls: type[Method], tmp_path: Path) -> None:
    method = make(cls)
    train_on(method, TASKS)
    torch.save(method.state_dict(), tmp_path / "state.pt")
    other = make(cls)
    other.restore(TASKS, torch.load(tmp_path / "state.pt", weights_only=True))
    image = noise(torch.arange(4))
    assert torch.equal(method.eval()(image).fake_logit, other.eval()(image).fake_logit)


@pytest.mark.parametrize(
    ("cls", "settings", "said"),
    [
        (SPrompts, {"prompt_length": 0}, "prompt_length must be at least 1, got 0"),
        (SPrompts, {"num_keys": 0}, "num_keys must be at least 1, got 0"),
        (DevFDLike, {"rank": 0}, "rank must be at least 1, got 0"),
        (DevFDLike, {"orthogonality_weight": -1.0}, "orthogonality_weight must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(cls: type[Method], settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(cls, **settings)


@pytest.fixture(scope="module")
def auc(toy_table: FrameTable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """AUC after each task (rows) on each task (columns): smooth first, which what follows contradicts."""
    stream = build_stream(toy_table, [TaskSpec(["smooth"]), TaskSpec(["columns"])])
    vit = {**TINY_VIT, "model_args": {"patch_size": 8, "depth": 1, "embed_dim": 64, "num_heads": 2}}
    found = {}
    for cls, lr in ((Finetune, 1e-3), (SPrompts, 1e-2), (DevFDLike, 3e-3)):
        path = tmp_path_factory.mktemp("vits") / cls.__name__
        results, _ = run(make(cls, lr, vit), ToyData(stream), path, epochs=15, limit_val_batches=0)
        found[cls.__name__] = np.array(results["matrices"]["auc"], dtype=float)
    return found


def test_each_task_is_learnt_when_it_comes(auc: dict[str, np.ndarray]) -> None:
    for matrix in auc.values():
        assert np.diag(matrix[1:]).min() > 0.8


@pytest.mark.parametrize("name", ["SPrompts", "DevFDLike"])
def test_both_forget_less_than_finetuning_the_same_vit(name: str, auc: dict[str, np.ndarray]) -> None:
    forgot = {key: matrix[1, 0] - matrix[2, 0] for key, matrix in auc.items()}
    assert forgot["Finetune"] > 0.5
    assert forgot[name] < forgot["Finetune"] - 0.2
    assert auc[name][2, 0] > auc["Finetune"][2, 0] + 0.1
