"""Labels that an open-world method gives to its own surest images, when a task names no new class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from continual_df.task import Rows
from tests.made_up_tasks import make_batch, make_rows, make_tasks
from tests.open_world_methods import make


def second_visit(self_labelled: float, names: tuple[str, ...] = ("a",)) -> Any:
    """A method before its second task, with unlabelled images of which the first six fall in novel head 3, the others in real."""
    method = make(self_labelled=self_labelled)
    tasks = make_tasks(["a"], names)
    rows = make_rows(tasks[1], 12)
    method.unlabelled = [rows._replace(method=torch.full((12,), -1), label=torch.full((12,), -1))]

    def extract(rows: Rows, fields: tuple[str, ...], view: Any = None) -> dict[str, Tensor]:
        logit_NK = torch.zeros(rows.num, 4)
        logit_NK[torch.arange(rows.num), torch.where(torch.arange(rows.num) < 6, 3, 0)] = torch.arange(
            1.0, rows.num + 1
        )
        return {"method_logits": logit_NK}

    for task in tasks:
        method.begin_task(task)
        method.meet_task(task, make_rows(task, 6), extract)
    return method


def test_the_surest_images_of_a_task_that_is_met_again_come_with_their_head_as_label() -> None:
    method = second_visit(0.5)
    labelled, unlabelled = method.batch_plan(method.task, [make_rows(method.task, 6)])
    given = labelled.rows.pick(slice(6, None))
    assert (given.sample - 1000).tolist() == [3, 4, 5, 9, 10, 11]
    assert given.method.tolist() == [3] * 3 + [0] * 3
    assert given.label.tolist() == [1] * 3 + [0] * 3
    assert (unlabelled.rows.sample - 1000).tolist() == [0, 1, 2, 6, 7, 8]
    assert method.notes() == {"pseudo_labels.json": {"sample": given.sample.tolist(), "head": [3] * 3 + [0] * 3}}


def test_labels_that_a_method_gave_survive_a_checkpoint() -> None:
    method, other = second_visit(0.5), second_visit(0.0)
    assert not other.chosen.num
    other.load_state_dict(method.state_dict())
    assert all(map(torch.equal, other.chosen, method.chosen))


def test_a_task_that_names_a_class_is_trained_without_labels_of_the_methods_own() -> None:
    method = second_visit(0.5, names=("b",))
    assert not method.chosen.num
    assert method.notes() == {}


def test_all_images_may_come_with_a_label_and_the_batch_then_has_no_others() -> None:
    method = second_visit(1.0)
    (labelled,) = method.batch_plan(method.task, [make_rows(method.task, 6)])
    assert labelled.rows.num == 18
    batch = make_batch(labelled.rows)
    assert all(torch.isfinite(value) for value in method.losses(batch).values())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"self_labelled": 1.5}, "a share"), ({"self_labelled": 0.5, "novel_share": 0.5}, "set one")],
)
def test_wrong_self_labelling_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**kwargs)
