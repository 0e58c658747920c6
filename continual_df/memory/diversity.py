"""How well a memory stands for what it was chosen from: its diversity, and its distance to the whole."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from continual_df.memory.gaussian_kernel import gaussian_kernel, median_distance
from continual_df.memory.vendi import vendi_score
from continual_df.randomness import generator_at
from continual_df.task import Rows

DRAWS = 10
"""Random samples that a memory is compared with."""

COLUMNS = ["task", "label", "num", "num_memory", "vendi_memory", "vendi_random", "mmd_memory", "mmd_random"]

CHUNK_ROWS = 1024
"""Rows of the kernel that are held at a time."""


def memory_report(feature_ND: Tensor, rows: Rows, chosen_N: Tensor, seed: int = 0) -> pd.DataFrame:
    """Return a row for each domain (task, label): its memory against random samples of the same number of rows.

    Both numbers are of one Gaussian kernel on the features, whose bandwidth is the domain's median distance. MMD is the
    square root of the biased estimate, a V-statistic, never negative, and 0 where the memory is the whole domain (Gretton
    et al., 2012, "A Kernel Two-Sample Test", JMLR 13, equation 5): between memory and full domain, as SUR-LID shows it
    (arXiv:2411.11396). Takes O(N^2 D) a domain.

    Args:
        feature_ND: Features of the training rows of the tasks, of one model.
        rows: Those rows, under their membership.
        chosen_N: Which of them, under that membership, are in memory (bool).
        seed: Seed of the random samples.

    Returns:
        The columns `COLUMNS`; those on random samples (without replacement) are means over ten. Null where the memory
        holds no row of the domain.
    """
    report = []
    for task, label in sorted(set(zip(rows.task.tolist(), rows.label.tolist(), strict=True))):
        own_N = (rows.task == task) & (rows.label == label)
        chosen_n = chosen_N[own_N]
        num, num_memory = len(chosen_n), int(chosen_n.sum())
        vendi, mmd = (math.nan, math.nan), (math.nan, math.nan)
        if num_memory:
            domain = _Domain(feature_ND[own_N])
            generator = generator_at(seed, task, label)
            draws = [torch.from_numpy(generator.permutation(num)[:num_memory]) for _ in range(DRAWS)]
            memory, *random = (domain.compare(index) for index in [chosen_n.nonzero().squeeze(1), *draws])
            vendi, mmd = zip(memory, np.mean(random, axis=0).tolist(), strict=True)
        report.append((task, label, num, num_memory, *vendi, *mmd))
    return pd.DataFrame(report, columns=COLUMNS)


class _Domain:
    """The features of one domain, and what of the kernel all comparisons with it share."""

    def __init__(self, feature_ND: Tensor) -> None:
        self.feature_ND = feature_ND.double()
        self.bandwidth = median_distance(self.feature_ND)
        starts = range(0, len(feature_ND), CHUNK_ROWS)
        self.mean_N = torch.cat(
            [
                self._similarity(self.feature_ND[start : start + CHUNK_ROWS], self.feature_ND).mean(dim=1)
                for start in starts
            ]
        )

    def compare(self, index_m: Tensor) -> tuple[float, float]:
        """Return the Vendi score of the rows at ``index_m``, and their MMD to all."""
        some_mD = self.feature_ND[index_m]
        similarity_mm = self._similarity(some_mD, some_mD)
        squared = similarity_mm.mean() - 2 * self.mean_N[index_m].mean() + self.mean_N.mean()
        return vendi_score(similarity_mm), math.sqrt(max(0.0, float(squared)))

    def _similarity(self, a_ND: Tensor, b_MD: Tensor) -> Tensor:
        return gaussian_kernel(torch.cdist(a_ND, b_MD), self.bandwidth)
