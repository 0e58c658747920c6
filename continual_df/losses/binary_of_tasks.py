"""Real or fake out of the logits of all tasks' classes: what multi-task learning adds to the cross-entropy (CDDB)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

BinaryLoss = Literal["sum_logit", "sum_feat", "sum_log", "max"]


def binary_of_tasks(logit_BTC: Tensor, label_B: Tensor, kind: BinaryLoss) -> Tensor:
    """Return the loss of each row, (B,), that its score as real and its score as fake over all tasks cause.

    With ``s_c`` the score of class c (0 real, 1 fake) of a row of class y:

    - ``sum_logit``: ``s_c = sum_t sigmoid(z_tc)``, loss ``-log(s_y / (s_0 + s_1))``;
    - ``max``: the same of ``s_c = max_t sigmoid(z_tc)``;
    - ``sum_feat``: ``s_c = sigmoid(sum_t sigmoid(z_tc))``, loss ``-(log s_y + log(1 - s_(1-y))) / 2``;
    - ``sum_log``: ``s_c = sum_t log sigmoid(z_tc)``, loss ``s_y / (s_0 + s_1)``.

    Li et al., 2023, arXiv:2205.05467, as in the released code (Coral79/CDDB).

    Args:
        logit_BTC: Logits z of the real and the fake class of each task.
        label_B: 0 real, 1 fake.
        kind: Which of them.
    """
    return _KINDS[kind](logit_BTC, label_B)


def _sum_logit(logit_BTC: Tensor, label_B: Tensor) -> Tensor:
    log_score_BC = F.logsigmoid(logit_BTC).logsumexp(dim=1)  # a sum of sigmoids may underflow, its logarithm does not
    return F.cross_entropy(log_score_BC, label_B, reduction="none")


def _max(logit_BTC: Tensor, label_B: Tensor) -> Tensor:
    return F.cross_entropy(F.logsigmoid(logit_BTC).amax(dim=1), label_B, reduction="none")


def _sum_feat(logit_BTC: Tensor, label_B: Tensor) -> Tensor:
    sum_BC = logit_BTC.sigmoid().sum(dim=1)
    target_BC = F.one_hot(label_B, 2).to(sum_BC.dtype)
    return F.binary_cross_entropy_with_logits(sum_BC, target_BC, reduction="none").mean(dim=1)


def _sum_log(logit_BTC: Tensor, label_B: Tensor) -> Tensor:
    # softplus(-z) = -log sigmoid(z); its logarithm is -z where it would underflow, and the shares 0 / 0
    size_BTC = torch.where(logit_BTC > 15, -logit_BTC, F.softplus(-logit_BTC.clamp(max=15)).log())
    return size_BTC.logsumexp(dim=1).softmax(dim=1)[torch.arange(len(label_B)), label_B]


_KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum_logit": _sum_logit,
    "sum_feat": _sum_feat,
    "sum_log": _sum_log,
    "max": _max,
}
