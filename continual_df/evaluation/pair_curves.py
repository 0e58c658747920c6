"""How often unlabelled images found a partner, and one of their class, epoch by epoch, as ``metrics.csv`` has it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from continual_df.errors import RunFolderError

KEYS = ("rate", "precision", "rate_known", "precision_known", "rate_novel", "precision_novel")
"""What `continual_df.callbacks.PairQuality` logs, behind ``pairs/``."""


def read_pair_curves(run: Path) -> pd.DataFrame:
    """Return the columns `KEYS` by task (from 1) and epoch (from 0); NaN where an epoch had none, no rows where a run has none.

    Raises:
        RunFolderError: If the file is broken.
    """
    path = run / "metrics.csv"
    log = pd.DataFrame(columns=["task", "epoch", "metric", "value"])
    if path.is_file():
        try:
            log = pd.read_csv(path, usecols=log.columns.tolist())
        except (OSError, ValueError) as error:  # pandas' own errors derive from the latter
            raise RunFolderError(
                f"{path}: cannot be read ({' '.join(str(error).split())}). Restore the file."
            ) from None
    log = log[log["metric"].isin([f"pairs/{key}" for key in KEYS])]
    curves = log.assign(metric=log["metric"].str.removeprefix("pairs/").astype(str)).pivot_table(
        index=["task", "epoch"], columns="metric", values="value", aggfunc="last"
    )
    curves.index = curves.index.set_levels([level.astype(int) for level in curves.index.levels])
    return curves.reindex(columns=list(KEYS))
