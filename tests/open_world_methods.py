"""Open-world methods on a tiny detector, and a batch that holds rows with and without a label."""

from __future__ import annotations

from typing import Any

import torch

from continual_df.methods import CPL, OpenWorld
from continual_df.task import Batch, Role
from tests.made_up_tasks import make_batch, make_rows, make_tasks
from tests.toy import TinyDetector


def make(cls: type[OpenWorld] = CPL, **kwargs: Any) -> Any:
    torch.manual_seed(0)
    return cls(
        **{"novel": 2, "detector": TinyDetector(), "batch_size": 6, "two_views": False, "dropout": 0.0, **kwargs}
    )


def mixed_batch(method: OpenWorld, unlabelled: int = 4, second: bool = False) -> Batch:
    """Six labelled rows of the classes real, a and b, and others without a label."""
    (task,) = make_tasks(["a", "b"])
    method.begin_task(task)
    batch = make_batch(make_rows(task, 6 + unlabelled))
    batch["role"][6:] = int(Role.UNLABELLED)
    batch["method"][6:] = batch["label"][6:] = -1
    if second:
        batch["second"] = batch["image"].flip(-1)
    return batch
