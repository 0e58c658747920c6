from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn

from continual_df.callbacks.pair_quality import PairQuality
from continual_df.errors import ConfigError
from continual_df.evaluation.pair_curves import read_pair_curves
from continual_df.task import Pairs
from tests.made_up_tasks import make_tasks

CLASSES = pd.Series(["real", "swap", "swap", "warp", "warp", "paint"])
"""Of samples 0 to 5; a task knows real and swap."""


class Logging(nn.Module):
    """What a callback sees of a method: its task, its pairs, and somewhere to log."""

    def __init__(self, pairs: Pairs | None) -> None:
        super().__init__()
        (self.task,) = make_tasks(["swap"])
        self.pairs = pairs
        self.logged: dict[str, tuple[float, int]] = {}

    def log(self, name: str, value: float, batch_size: int, **_: Any) -> None:
        self.logged[name] = (value, batch_size)


def logged(sample: list[int], partner: list[int], paired: list[bool]) -> dict[str, tuple[float, int]]:
    method: Any = Logging(Pairs(torch.tensor(sample), torch.tensor(partner), torch.tensor(paired)))
    nothing: Any = None
    PairQuality(CLASSES).on_train_batch_end(nothing, method, None, nothing, 0)
    found: dict[str, tuple[float, int]] = method.logged
    return found


def test_rates_and_precisions_by_hand() -> None:
    # swap finds swap, real finds warp, warp finds warp and swap, paint finds nobody
    assert logged([1, 0, 3, 4, 5], [2, 3, 4, 1, 5], [True, True, True, True, False]) == {
        "pairs/rate": (0.8, 5),
        "pairs/precision": (0.5, 4),
        "pairs/rate_known": (1.0, 2),
        "pairs/precision_known": (0.5, 2),
        "pairs/rate_novel": (pytest.approx(2 / 3), 3),
        "pairs/precision_novel": (0.5, 2),
    }


def test_where_no_image_has_a_partner_there_is_no_precision() -> None:
    assert logged([3, 5], [3, 5], [False, False]) == {"pairs/rate": (0.0, 2), "pairs/rate_novel": (0.0, 2)}


def test_nothing_is_chosen_by_what_true_classes_say() -> None:
    trainer: Any = SimpleNamespace(
        callbacks=[ModelCheckpoint(monitor="val/known_acc"), EarlyStopping("pairs/precision_novel")]
    )
    nothing: Any = None
    with pytest.raises(
        ConfigError, match="EarlyStopping monitors 'pairs/precision_novel', which is made from the true"
    ):
        PairQuality(CLASSES).setup(trainer, nothing, "fit")
    trainer.callbacks.pop()
    PairQuality(CLASSES).setup(trainer, nothing, "fit")


def test_a_method_without_pairs_logs_nothing() -> None:
    method: Any = Logging(None)
    nothing: Any = None
    PairQuality(CLASSES).on_train_batch_end(nothing, method, None, nothing, 0)
    assert method.logged == {}


def test_curves_are_read_by_task_and_epoch_with_gaps_where_nothing_was_paired(tmp_path: Path) -> None:
    rows = [
        "task,epoch,step,metric,value",
        "1,0,4,train/loss,2.0",
        "1,0,4,pairs/rate,0.0",
        "1,1,8,pairs/rate,0.5",
        "1,1,8,pairs/precision,0.25",
        "2,0,3,pairs/rate,0.75",
        "2,0,3,pairs/precision,1.0",
    ]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    curves = read_pair_curves(tmp_path)
    assert list(curves.index) == [(1, 0), (1, 1), (2, 0)]
    assert curves["rate"].tolist() == [0.0, 0.5, 0.75]
    assert curves["precision"].isna().tolist() == [True, False, False]
    assert curves["precision_novel"].isna().all()


def test_runs_without_pairs_have_no_curves(tmp_path: Path) -> None:
    assert read_pair_curves(tmp_path).empty
    (tmp_path / "metrics.csv").write_text("task,epoch,step,metric,value\n1,0,4,train/loss,2.0\n")
    assert read_pair_curves(tmp_path).empty
