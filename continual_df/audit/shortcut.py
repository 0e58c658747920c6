"""Whether trivial statistics of the files tell the classes apart, so that a detector need not look at the faces.

Each forgery method is probed against the reals of its own domain (``source``); the reals of every two domains against
each other. A linear probe above .8 within a domain means that a detector can pass the test on size, compression or
brightness alone; apart domains mean that a task whose fakes and reals come from different ones measures the domain.

"Fake" here may be a control: its statistics should not differ from its reals' at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from continual_df.audit.features import probe_features
from continual_df.audit.probe import Probe, probe
from continual_df.labels import REAL_METHOD

THRESHOLD = 0.8
"""AUC above which trivial statistics are a shortcut."""


@dataclass(frozen=True)
class Comparison:
    """Two kinds of images and what the probe made of them.

    Attributes:
        name: The method, or a domain.
        against: The domain (or domains) of the reals that it was probed against. Label 1 of the probe is the method, or
            the second of two domains.
        probe: The result; None where one side has no readable image.
        within: Whether both come from one domain.
        notes: What was peculiar about the comparison.
    """

    name: str
    against: str
    probe: Probe | None
    within: bool
    notes: tuple[str, ...] = ()

    @property
    def high(self) -> bool:
        """Whether the probe's AUC is above `THRESHOLD`."""
        auc = self.probe.auc if self.probe is not None else None
        return auc is not None and auc > THRESHOLD


def probe_methods(rows: pd.DataFrame, statistics: pd.DataFrame, seed: int = 0) -> list[Comparison]:
    """Return one comparison for each method and domain in which it occurs, with the reals of the splits that it is in.

    A method whose domain has no reals is probed against all reals, which tells its domain as much as its traces; a
    note says so.

    Args:
        rows: One row an image and split: ``sample``, ``method``, ``source``, ``group``, ``split``.
        statistics: `file_statistics` by ``sample``; unreadable images are not in it.
        seed: Seed of folds and intervals.
    """
    real = rows[rows["method"] == REAL_METHOD]
    fakes = rows[rows["method"] != REAL_METHOD]
    found = []
    for (method, source), part in fakes.groupby(["method", "source"], sort=False):
        inside = real["split"].isin(
            set(part["split"])
        )  # a method that is only tested is not compared with other people
        own = real[(real["source"] == source) & inside]
        notes = () if len(own) else (f"no reals in '{source}': probed against those of all other domains",)
        reals = own if len(own) else real[inside]
        against = source if len(own) else ", ".join(sorted(set(reals["source"])))
        result = _compare(reals, part, statistics, seed)
        found.append(Comparison(method, against, result, bool(len(own)), notes))
    return found


def probe_domains(rows: pd.DataFrame, statistics: pd.DataFrame, seed: int = 0) -> list[Comparison]:
    """Return one comparison for every two domains' reals; arguments as in `probe_methods`."""
    real = rows[rows["method"] == REAL_METHOD]
    parts = {str(source): part for source, part in real.groupby("source", sort=False)}
    return [
        Comparison(one, other, _compare(parts[one], parts[other], statistics, seed), within=False)
        for one, other in combinations(parts, 2)
    ]


def _compare(first: pd.DataFrame, second: pd.DataFrame, statistics: pd.DataFrame, seed: int) -> Probe | None:
    """Return how far ``second`` is told from ``first``; None where one has no readable image."""
    both = pd.concat([first.assign(side=0), second.assign(side=1)])
    both = both[both["sample"].isin(statistics.index)]
    if both["side"].nunique() < 2:
        return None
    features = probe_features(statistics.loc[both["sample"]])
    split, group = (both[name].to_numpy(dtype=object) for name in ("split", "group"))
    return probe(features, both["side"].to_numpy(dtype=np.int64), split, group, seed)
