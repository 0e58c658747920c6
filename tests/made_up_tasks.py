"""A method without a Trainer: tasks and rows of any number, its own batches, and the calls of the loop in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from continual_df.data.sampler import Draw, PlanBatchSampler
from continual_df.methods import Method
from continual_df.task import Batch, Extract, Role, Rows, Task, View

Images = Callable[[Tensor], Tensor]
"""``sample_B -> image_BCHW``."""


def make_tasks(*methods: Sequence[str]) -> list[Task]:
    """Return one task for each sequence of methods."""
    class_ids = {"real": 0}
    tasks = []
    for index, names in enumerate(methods):
        for name in names:
            class_ids.setdefault(name, len(class_ids))
        tasks.append(Task(index, "+".join(names), tuple(names), class_ids=dict(class_ids), real_domain=index))
    return tasks


def make_rows(task: Task, num: int = 6) -> Rows:
    """Return ``num`` rows of ``task``: real, a method, real, the next method, ..."""
    ids = [task.class_ids[name] for name in task.methods]
    method = torch.tensor([0 if i % 2 == 0 else ids[i // 2 % len(ids)] for i in range(num)])
    return Rows(1000 * task.index + torch.arange(num), (method > 0).long(), method, torch.full((num,), task.index))


def noise(sample_B: Tensor) -> Tensor:
    """Return an image (3, 16, 16) of noise for each sample, always the same."""
    return torch.stack([torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(int(s))) for s in sample_B])


def make_batch(rows: Rows, replayed: int = 0, images: Images = noise) -> Batch:
    """Return ``rows`` as a batch, whose last ``replayed`` ones are replayed; each row is a group of its own."""
    sample, label, method, task = rows
    role = torch.full((rows.num,), int(Role.CURRENT))
    role[rows.num - replayed :] = int(Role.REPLAY)
    weight = torch.ones(rows.num)
    return Batch(
        image=images(sample),
        label=label,
        method=method,
        task=task,
        role=role,
        sample=sample,
        weight=weight,
        group=sample.clone(),
    )


def draws_to_batch(draws: Sequence[Draw], images: Images = noise) -> Batch:
    """Return ``draws`` of a sampler, current ones first, as a batch."""
    columns = [torch.tensor([getattr(draw, name) for draw in draws]) for name in Rows._fields]
    return make_batch(Rows(*columns), sum(draw.role == Role.REPLAY for draw in draws), images)


def extract_of(method: Method, images: Images = noise) -> Extract:
    """Return what the method says of rows, as the loop would ask it."""

    def extract(rows: Rows, fields: tuple[str, ...], view: View | None = None) -> dict[str, Tensor]:
        usual, method.predict_fields, method.predict_view = method.predict_fields, fields, view
        with torch.inference_mode():
            values = method.eval().predict_step(make_batch(rows, images=images), 0)
        method.predict_fields, method.predict_view = usual, None
        return {name: values[name] for name in fields}

    return extract


def train_step(method: Method, optimizer: torch.optim.Optimizer, batch: Batch) -> dict[str, Tensor]:
    """Take one step; return the terms of its loss."""
    optimizer.zero_grad()
    terms = method.train().losses(batch)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)  # as DDP asks
    optimizer.step()
    return terms


def train_task(
    method: Method, task: Task, seen: list[Rows], epochs: int = 1, lr: float = 0.1, images: Images = noise
) -> None:
    """Begin a task, train on the method's plan with Adam, and end the task; ``seen`` ends with its rows."""
    method.begin_task(task)
    sampler = PlanBatchSampler(method.batch_plan(task, seen), seed=0, task=task.index)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr)
    for epoch in range(epochs):
        for index in range(len(sampler)):
            train_step(method, optimizer, draws_to_batch(sampler.batch(epoch, index), images))
    method.end_task(task, seen[-1], extract_of(method, images))


def train_on(method: Method, tasks: Sequence[Task], num_rows: int = 6) -> list[Rows]:
    """Train one task of noise after the other; return their rows."""
    seen: list[Rows] = []
    for task in tasks:
        seen.append(make_rows(task, num_rows))
        train_task(method, task, seen)
    return seen
