"""DevFD-like: one low-rank adapter for all tasks and one a task, the latter orthogonal to each other, on a frozen ViT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from continual_df.losses.orthogonality import orthogonality
from continual_df.methods.base import Method
from continual_df.models.detector import Detector
from continual_df.models.lora import LoRAViT
from continual_df.task import Batch, Task


class DevFDLike(Method):
    """No replay, in the spirit of DevFD (Zhang et al., 2025, arXiv:2509.19230).

    Real faces stay alike over a stream, forgeries do not. So the feed-forward layers of a frozen ViT get one adapter that
    learns in every task (the real LoRA) and one for each task (its fake LoRA), which is frozen when the task has ended:
    W x + b + B_real A_real x + sum_t B_t A_t x. In task t the loss is the detection loss plus

        orthogonality_weight * sum over layers and earlier tasks i of ||A_t A_i^T||_F^2.

    One linear head decides for all tasks. No image is kept.

    Differs from DevFD, of which the router over its adapters and the form in which gradients enter its orthogonality loss
    are not known to us: the adapters add up, every row trains the real LoRA, and the orthogonality loss is that of O-LoRA
    (Wang et al., 2023, arXiv:2310.14152).

    Args:
        detector: `TimmDetector` with a ViT, best pretrained; it is frozen.
        rank: Rank of each adapter.
        orthogonality_weight: Weight of the orthogonality loss.
        **kwargs: Those of `Method`.

    Raises:
        ConfigError: If the detector is no timm ViT.
    """

    detector: LoRAViT

    def __init__(
        self,
        detector: Detector,
        rank: int = 8,
        orthogonality_weight: float = 0.5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        if orthogonality_weight < 0:
            raise ValueError(f"orthogonality_weight must be at least 0, got {orthogonality_weight}")
        super().__init__(detector=LoRAViT(detector, rank, "DevFDLike"), **kwargs)
        self.orthogonality_weight = orthogonality_weight

    def begin_task(self, task: Task) -> None:
        """Freeze the fake LoRAs and add that of ``task``."""
        super().begin_task(task)
        self.detector.grow()

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the detection loss and the orthogonality loss, which is 0 in the first task."""
        apart = torch.stack([orthogonality(new, earlier) for new, earlier in self.detector.directions()]).sum()
        return {**super().losses(batch), "orthogonality": self.orthogonality_weight * apart}
