"""Keep all heads in use: the mean of the predictions is to be near a prior."""

from __future__ import annotations

import math

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
        prior_K: Share of each head, positive, of sum 1, such as `known_prior`; uniform if none is given. Any positive value will
            do for a head whose probability is 0.
    """
    log_p_BK = F.log_softmax(logit_BK.float(), dim=1)
    log_mean_K = log_p_BK.logsumexp(dim=0) - math.log(len(log_p_BK))
    num_heads = log_p_BK.shape[1]
    log_prior_K = log_mean_K.new_full((num_heads,), -math.log(num_heads)) if prior_K is None else prior_K.log()
    return (log_mean_K.exp() * (log_mean_K - log_prior_K)).sum()


def known_prior(labelled_C: Tensor, count_C: Tensor, num_novel: int, novel_share: float) -> Tensor:
    """Return prior_K of a batch that is part labelled, part drawn at random from the unlabelled rows.

    With l_c the share of the batch that is labelled and of known class c, n_c the labelled rows of that class that there are, and v
    the novel share of the unlabelled rows, u = 1 - sum l of the batch:

    - a known class has ``l_c + u (1 - v) n_c / sum n``, which takes it that known classes are among the unlabelled rows in
      the proportions of the labelled ones;
    - each novel head has ``u v / num_novel``, since nothing is known of how novel classes divide.

    A class without labelled rows has 0; the sum is 1. Of OW-DFA's protocol 1 (half labelled, 8 known and 12 novel classes,
    v = 18/22) a known class has 0.074 and a novel one 0.034, where a uniform prior has 0.05.

    Args:
        labelled_C: The l_c of the formula, at least 0, of a sum within (0, 1).
        count_C: The n_c of the formula; 0 where, and only where, l_c is.
        num_novel: Number of novel heads.
        novel_share: The v of the formula: in (0, 1], or 0 where there are no novel heads. Labels do not tell it; it is a setting.

    Raises:
        ValueError: If any of the above is out of its range.
    """
    labelled = float(labelled_C.sum())
    if not 0 < labelled < 1:
        raise ValueError(f"the sum of labelled_C must be within (0, 1), got {labelled:g}")
    if (labelled_C < 0).any() or ((labelled_C > 0) != (count_C > 0)).any():
        raise ValueError(
            f"count_C must be positive where labelled_C is, else both 0; got {count_C.tolist()} and {labelled_C.tolist()}"
        )
    if not 0 <= novel_share <= 1 or (novel_share > 0) != (num_novel > 0):
        raise ValueError(
            f"novel_share must be within (0, 1] if there are novel heads, else 0; got {novel_share} of {num_novel} heads"
        )
    known_C = labelled_C + (1 - labelled) * (1 - novel_share) * count_C / count_C.sum()
    novel_N = known_C.new_full((num_novel,), (1 - labelled) * novel_share / max(num_novel, 1))
    return torch.cat([known_C, novel_N]).float()
