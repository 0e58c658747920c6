"""S-Prompts: a prompt and a head a task on a ViT that never changes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from continual_df.methods.base import Method, Prediction
from continual_df.models.detector import Detector
from continual_df.models.domain_keys import DomainKeys
from continual_df.models.heads import TaskHeads, fake_margin
from continual_df.models.prompted_vit import PromptedViT
from continual_df.task import Extract, Rows, Task


class SPrompts(Method):
    """S-Prompts for images (S-iPrompts): tasks learn apart from each other, so that none can disturb another.

    Each task trains a prompt and a linear head by cross-entropy alone, and leaves K-means keys of the features that the
    frozen ViT gives its images without a prompt. An image goes through the prompt and the head of the task that has the
    nearest key; while a task trains, its validation images through its own. No image is kept.

    Wang et al., 2022, arXiv:2207.12819. Differs from the released code, where the nearest key is that of the least
    absolute distance: here it is the Euclidean one, which K-means minimises.

    Args:
        detector: `TimmDetector` with a ViT, best pretrained; it is frozen.
        prompt_length: Tokens of a prompt.
        num_keys: Keys of a task.
        **kwargs: Those of `Method`.

    Raises:
        ConfigError: If the detector is no timm ViT.
    """

    detector: PromptedViT
    head: TaskHeads

    def __init__(
        self,
        detector: Detector,
        prompt_length: int = 10,
        num_keys: int = 5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        for name, value in {"prompt_length": prompt_length, "num_keys": num_keys}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        super().__init__(detector=PromptedViT(detector, prompt_length, "SPrompts"), **kwargs)
        self.keys = DomainKeys(num_keys, detector.num_features)

    def make_head(self) -> TaskHeads:
        """Return one two-class head a task."""
        return TaskHeads(self.detector.num_features)

    def begin_task(self, task: Task) -> None:
        """Freeze prompts and heads, and add those of ``task``."""
        super().begin_task(task)
        self.head.requires_grad_(False)
        self.head.grow()
        self.detector.grow()
        self.keys.grow()

    def fake_logit(self, feature_BD: Tensor) -> Tensor:
        """Return what the newest head says: of two logits, the sigmoid of their difference is the softmax."""
        return fake_margin(self.head(feature_BD))[:, -1]

    def decision_directions(self) -> Tensor:
        """Return none: each head decides in the space of its own prompt, and `Prediction` has the features of no prompt."""
        return self.head.weight_TCD.new_empty(0, self.detector.num_features)

    def forward(self, image: Tensor) -> Prediction:
        """Return what the task of the nearest key says; the features are those without a prompt."""
        plain_BD = self.detector.plain(image).pooled_BD
        task_B = self.keys(plain_BD)
        margin_BT = fake_margin(self.head(self.detector(image, task_B).pooled_BD))
        return Prediction(margin_BT.gather(1, task_B[:, None]).squeeze(1), None, plain_BD)

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Fit the keys of ``task``."""
        self.keys.fit(extract(rows, ("features",))["features"])
