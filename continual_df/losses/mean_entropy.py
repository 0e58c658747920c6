"""Keep all heads in use: the mean of the predictions is to be near a prior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_entropy(logit_BK: Tensor, prior_K: Tensor | None = None) -> Tensor:
    """Return ``KL(m || prior)`` with ``m = mean_i softmax(logit_i)``: at least 0, and 0 where the batch is as the prior says.

    Of the uniform prior it is ``log K - H(m)``, so that its gradient is that of ``-H(m)``, the regulariser of ORCA, CPL and
    SimGCD (arXiv:2102.03526, 2309.11132, 2211.11727). Differs from them: a prior may be given, since a uniform one is wrong where
    classes are not equal.

    Args:
        logit_BK: Logits of all rows of the batch, B at least 1.
        prior_K: Share of each head, positive, of sum 1, such as `known_prior`; uniform if none is given.
    """
    log_p_BK = F.log_softmax(logit_BK.float(), dim=1)
    log_mean_K = log_p_BK.logsumexp(dim=0) - math.log(len(log_p_BK))
    num_heads = log_p_BK.shape[1]
    log_prior_K = log_mean_K.new_full((num_heads,), -math.log(num_heads)) if prior_K is None else prior_K.log()
    return (log_mean_K.exp() * (log_mean_K - log_prior_K)).sum()


def known_prior(
    labelled_counts: Sequence[int], num_novel: int, novel_share: float, labelled_share: float = 0.5
) -> Tensor:
    """Return prior_K of a batch that is part labelled and class-balanced, part drawn at random from the unlabelled rows.

    With l the labelled share, n_c the labelled rows of known class c, C the number of known classes, and v the novel share of the
    unlabelled rows:

    - a known class has ``l / C + (1 - l) (1 - v) n_c / sum n``, which takes it that known classes are among the unlabelled rows in
      the proportions of the labelled ones;
    - each novel head has ``(1 - l) v / num_novel``, since nothing is known of how novel classes divide.

    Of OW-DFA's protocol 1 (8 known and 12 novel classes, v = 18/22) a known
    class has 0.074 and a novel one 0.034, where a uniform prior has 0.05.

    Args:
        labelled_counts: Labelled rows of each known class, by class id, all positive.
        num_novel: Number of novel heads.
        novel_share: The v of the formula: in (0, 1], or 0 where there are no novel heads. Labels do not tell it; it is a setting.
        labelled_share: The l of the formula, in (0, 1).

    Raises:
        ValueError: If a head were to have no share, or any of the above is out of its range.
    """
    if not labelled_counts or min(labelled_counts) < 1:
        raise ValueError(f"labelled_counts must hold a positive count of each known class, got {list(labelled_counts)}")
    if not 0 < labelled_share < 1:
        raise ValueError(f"labelled_share must be within (0, 1), got {labelled_share}")
    if not 0 <= novel_share <= 1 or (novel_share > 0) != (num_novel > 0):
        raise ValueError(
            f"novel_share must be within (0, 1] if there are novel heads, else 0; got {novel_share} of {num_novel} heads"
        )
    count_C = torch.tensor(labelled_counts, dtype=torch.float64)
    known_C = labelled_share / len(count_C) + (1 - labelled_share) * (1 - novel_share) * count_C / count_C.sum()
    novel_N = torch.full((num_novel,), (1 - labelled_share) * novel_share / max(num_novel, 1), dtype=torch.float64)
    return torch.cat([known_C, novel_N]).float()
