"""Transfer between tasks of many classes: which method, or which class of a NEVIS task, an image shows."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric

from continual_df.labels import REAL_METHOD
from continual_df.methods.base import Prediction
from continual_df.methods.transfer import Transfer
from continual_df.models.class_head import ClassHead, fake_against_real
from continual_df.models.weight_store import Weights
from continual_df.task import Batch, Rows, Task


class ClassTransfer(Transfer):
    """`Transfer` whose models tell the classes of their task: real, and each method that the task names.

    Only the classes of the task compete in its softmax, as in NEVIS'22, where each task has a head of its own: ``acc`` of the validation
    and ``top1`` of the results are over them. A class that returns in a later task keeps its output, so that ``previous`` and ``nearest`` go on with it.

    Args:
        **kwargs: Those of `Transfer`.
    """

    head: ClassHead

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.val_acc = MeanMetric()

    def make_head(self) -> ClassHead:
        """Return a head of one output a class."""
        return ClassHead(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Add the classes of the task; where every task starts over, begin with new outputs for all."""
        self.task = task
        if self.initial in ("scratch", "pretrained"):
            self._renew()
        self.head.grow(len(task.class_ids))
        super().begin_task(task)

    @property
    def own(self) -> list[int]:
        """Class ids of the current task, real first."""
        assert self.task is not None
        return sorted({self.task.class_ids[name] for name in (REAL_METHOD, *self.task.methods)})

    def decision_directions(self) -> Tensor:
        """Return (0, D): real and fake are not two sides of one plane."""
        return torch.empty(0, self.detector.num_features)

    def forward(self, image: Tensor) -> Prediction:
        """Return what the method says of ``image``; P(fake) is that of the current task's classes."""
        features = self.detector(image).pooled_BD
        logit_BC = self.head(features)
        return Prediction(fake_against_real(logit_BC[:, self.own]), logit_BC, features)

    def target(self, rows: Rows) -> Tensor:
        """Return the class ids (N,)."""
        return rows.method

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the task's classes, with smoothed labels."""
        features = self.detector(batch["image"])
        logit_BC, target_B = self._of_task(self.head(features.pooled_BD), batch["method"])
        detection = F.cross_entropy(logit_BC, target_B, label_smoothing=self.label_smoothing)
        return {"detection": detection, **self.detector.auxiliary_loss(features, batch)}

    def collect(self, batch: Batch) -> Prediction:
        """Collect whether the class is right, too."""
        prediction = super().collect(batch)
        assert prediction.method_logits is not None
        logit_BC, target_B = self._of_task(prediction.method_logits, batch["method"])
        self.val_acc.update((logit_BC.argmax(dim=1) == target_B).float(), batch["weight"])
        self.log("val/acc", self.val_acc)
        return prediction

    def _take(self, weights: Weights) -> None:
        """Go on from ``weights``; classes that they do not know have new outputs, whatever was there before."""
        self._renew()
        super()._take(weights)

    def _renew(self) -> None:
        """Begin with new outputs for all classes so far."""
        assert self.task is not None
        head = self.make_head()
        for num in itertools.accumulate(self.head.sizes):  # in the same parts, whose names are those of the weights
            head.grow(num)
        self.head = head.to(self.device)

    def _of_task(self, logit_BC: Tensor, class_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the task's classes, and the place of each class among them."""
        own = torch.tensor(self.own, device=class_B.device)
        return logit_BC[:, own], torch.searchsorted(own, class_B)
