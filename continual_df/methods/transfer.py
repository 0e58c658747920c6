"""Transfer: a model for each task, which starts from random, pretrained or earlier weights: the learners of NEVIS'22."""

from __future__ import annotations

import copy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.errors import ConfigError
from continual_df.methods.base import Method
from continual_df.models.nearest_neighbours import neighbour_accuracy
from continual_df.models.weight_store import Weights, WeightStore
from continual_df.randomness import priority
from continual_df.task import Batch, Extract, Rows, Task

Initial = Literal["scratch", "pretrained", "previous", "nearest"]


class Transfer(Method):
    """Learn each task from weights that were chosen for it; the newest model answers for all tasks.

    What the weights of a task's model are when its training begins:

    - ``scratch``: random, the same for every task (Independent);
    - ``pretrained``: those with which the detector was made (Independent from pretrained);
    - ``previous``: what the task before has ended with (FT-prev);
    - ``nearest``: those of an earlier task, or of the start, whose features tell the classes of the task's validation images best, by the classes of their
      nearest training images (FT-d, "dynamic"); of equal ones the latest. The start and every model are kept, and each costs a forward pass over
      the images.

    Right after its task a model is judged on that task; what it says of the others is measured too, as of any method.

    Bornschein et al., 2023, arXiv:2211.11747. Differs from its code: features come from the model in evaluation mode, the start may win, and
    choosing is paid for (phase ``selection``).

    Args:
        initial: Where the weights of each task come from.
        freeze_backbone: Train the head alone; the detector stays in evaluation mode.
        label_smoothing: Share s of the label that is taken for chance: the target of a fake is 1 - s / 2; in [0, 1).
        num_neighbours: Nearest training images that vote, for ``nearest``.
        max_train: Training images at most that are looked at for ``nearest``, drawn by their row and nothing else.
        max_val: Validation images at most.
        **kwargs: Those of `Method`.

    Raises:
        ConfigError: If ``scratch`` comes with pretrained weights, or ``pretrained`` without.
    """

    def __init__(
        self,
        *,
        initial: Initial = "previous",
        freeze_backbone: bool = False,
        label_smoothing: float = 0.0,
        num_neighbours: int = 5,
        max_train: int = 10_000,
        max_val: int = 5_000,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        for name, value in (("num_neighbours", num_neighbours), ("max_train", max_train), ("max_val", max_val)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        random = self.detector.pretrain_flops == 0
        if initial == ("pretrained" if random else "scratch"):
            has = "random weights" if random else "pretrained weights"
            raise ConfigError(
                f"model.init_args.initial is '{initial}', but model.init_args.detector starts from {has}: change either of them."
            )
        self.initial, self.freeze_backbone, self.label_smoothing = initial, freeze_backbone, label_smoothing
        self.num_neighbours, self.max_train, self.max_val = num_neighbours, max_train, max_val
        self.detector.requires_grad_(not freeze_backbone)
        self._start: Weights = copy.deepcopy({key: value.cpu() for key, value in self._learnt().items()})
        self.past = WeightStore()
        if initial == "nearest":
            self.past.keep(self._start)
        self.source: int | None = None
        self.accuracy: dict[int, float] = {}

    def begin_task(self, task: Task) -> None:
        """Start over, where every task does."""
        super().begin_task(task)
        self.source, self.accuracy = (task.index if self.initial == "previous" else 0), {}
        if self.initial in ("scratch", "pretrained"):
            self._take(self._start)

    def meet_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Choose the weights whose features fit the task, where that is asked for."""
        if self.initial != "nearest":
            return
        train, val = _some(rows, self.max_train), _some(self.validation[-1], self.max_val)
        if len(self.past.kept) > 1:
            for number, weights in enumerate(self.past.kept):
                self._take(weights)
                self.accuracy[number] = neighbour_accuracy(
                    extract(train, ("features",))["features"],
                    self.target(train),
                    extract(val, ("features",))["features"],
                    self.target(val),
                    self.num_neighbours,
                )
        self.source = max(self.accuracy, key=lambda number: (self.accuracy[number], number), default=0)
        self._take(self.past.kept[self.source])

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Keep the task's model, where a later task could start from it."""
        if self.initial == "nearest":
            self.past.keep(self._learnt())

    def notes(self) -> dict[str, Any]:
        """Return ``source``, the number of the task that the weights came from (0: the start), and the candidates' accuracy."""
        return {"source.json": {"source": self.source, "accuracy": {str(k): v for k, v in self.accuracy.items()}}}

    def get_extra_state(self) -> dict[str, Any]:
        """Return where the task's weights came from, for the checkpoint."""
        return {"source": self.source, "accuracy": dict(self.accuracy)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take it from a checkpoint."""
        self.source, self.accuracy = state["source"], dict(state["accuracy"])

    def target(self, rows: Rows) -> Tensor:
        """Return the classes (N,) that the features should tell apart: real and fake."""
        return rows.label

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the detection loss with smoothed labels."""
        features = self.detector(batch["image"])
        logit = self.fake_logit(features.pooled_BD)
        label = batch["label"].to(logit.dtype)
        label = label + self.label_smoothing * (0.5 - label)
        detection = F.binary_cross_entropy_with_logits(logit, label)
        return {"detection": detection, **self.detector.auxiliary_loss(features, batch)}

    def train(self, mode: bool = True) -> Transfer:
        """Set the mode, but for a detector that is frozen: it stays in evaluation."""
        super().train(mode)
        if self.freeze_backbone:
            self.detector.train(False)
        return self

    def _learnt(self) -> Weights:
        """Return the state of detector and head."""
        parts = (("detector", self.detector), ("head", self.head))
        return {f"{name}.{key}": value for name, part in parts for key, value in part.state_dict().items()}

    def _take(self, weights: Weights) -> None:
        """Go on from ``weights``."""
        self.load_state_dict(weights, strict=False)


def _some(rows: Rows, most: int) -> Rows:
    """Return at most ``most`` of ``rows``: those of least priority, in their order."""
    order = priority(0, rows.sample.numpy()).argsort(kind="stable")[:most]
    return rows.pick(torch.from_numpy(order).sort().values)
