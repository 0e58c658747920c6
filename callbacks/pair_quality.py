"""Logs how often unlabelled images find a partner, and how often it is one of their class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer

from continual_df.errors import ConfigError
from continual_df.task import Batch

PREFIX = "pairs/"
"""What the names of the logged values begin with."""


class PairQuality(Callback):
    """Holds the pairs of each step against the true classes, which the method never sees.

    Logged by epoch, over unlabelled images: ``pairs/rate``, the share that has a partner, and of these ``pairs/precision``, the share
    whose partner is of their class, for images of classes that are ``known`` in the task and of others (``novel``) apart. Means are
    over images; where there is none, nothing is logged.

    Args:
        classes: Name of the class of every row of the frame table.
    """

    def __init__(self, classes: pd.Series) -> None:
        self.classes = classes.to_numpy(dtype=object)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse callbacks that would choose by these values.

        Raises:
            ConfigError: A callback monitors one of them.
        """
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if str(getattr(callback, "monitor", "")).startswith(PREFIX):
                raise ConfigError(
                    f"trainer.callbacks: {type(callback).__name__} monitors '{callback.monitor}', which is made from the true classes "
                    "of unlabelled images: a choice must not see them. Monitor val/known_acc."
                )

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401  whatever the step returned
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log the pairs of the step, if the method makes some."""
        pairs: Any = pl_module.pairs
        if pairs is None:
            return
        paired_U = pairs.paired_U.cpu().numpy()
        class_U = self.classes[pairs.sample_U.cpu().numpy()]
        right_U = class_U == self.classes[pairs.partner_U.cpu().numpy()]
        task: Any = pl_module.task
        known_U = np.isin(class_U.astype(str), list(task.class_ids))
        values_N = {f"{PREFIX}rate": paired_U, f"{PREFIX}precision": right_U[paired_U]}
        for name, chosen_U in (("known", known_U), ("novel", ~known_U)):
            values_N |= {
                f"{PREFIX}rate_{name}": paired_U[chosen_U],
                f"{PREFIX}precision_{name}": right_U[chosen_U & paired_U],
            }
        for name, value_N in values_N.items():
            if len(value_N):
                mean = float(value_N.mean())
                pl_module.log(name, mean, on_step=False, on_epoch=True, batch_size=len(value_N))
