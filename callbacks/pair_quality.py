"""Logs how often unlabelled images find a partner, and how often it is one of their class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pytorch_lightning import Callback, LightningModule, Trainer

from continual_df.task import Batch


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
        class_U, partner_U = (self.classes[sample_U.cpu().numpy()] for sample_U in (pairs.sample_U, pairs.partner_U))
        right_U = class_U == partner_U
        task: Any = pl_module.task
        known_U = np.isin(class_U.astype(str), list(task.class_ids))
        values_N = {"pairs/rate": paired_U, "pairs/precision": right_U[paired_U]}
        for name, chosen_U in (("known", known_U), ("novel", ~known_U)):
            values_N |= {
                f"pairs/rate_{name}": paired_U[chosen_U],
                f"pairs/precision_{name}": right_U[chosen_U & paired_U],
            }
        for name, value_N in values_N.items():
            if len(value_N):
                mean = float(value_N.mean())
                pl_module.log(name, mean, on_step=False, on_epoch=True, batch_size=len(value_N))
