"""The rules for pseudo-labels by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from continual_df.losses.asymmetric_threshold import AsymmetricThreshold
from continual_df.losses.class_threshold import ClassThreshold
from continual_df.losses.fixed_threshold import FixedThreshold
from continual_df.losses.pseudo_label import PseudoLabeller
from continual_df.losses.self_adaptive_threshold import SelfAdaptiveThreshold
from continual_df.losses.soft_pseudo_label import SoftPseudoLabeller
from continual_df.losses.two_thresholds import TwoThresholds

PseudoLabel = Literal["soft", "soft_detached", "argmax", "fixmatch", "flexmatch", "freematch", "asymmetric", "nach"]


def pseudo_labeller(rule: PseudoLabel, num_known: int, num_heads: int) -> PseudoLabeller:
    """Return a new labeller.

    ``soft`` is CPL's, whose weight is ``soft_detached`` or not; ``asymmetric`` is CAL's; the others are called as their papers.

    Args:
        rule: Which of them.
        num_known: Number of known classes, whose heads come first.
        num_heads: Number of all heads.

    Raises:
        ValueError: If there is no such rule.
    """
    if rule not in _RULES:
        raise ValueError(f"pseudo_label must be one of {', '.join(_RULES)}, got '{rule}'")
    return _RULES[rule](num_known, num_heads)


_RULES: dict[str, Callable[[int, int], PseudoLabeller]] = {
    "soft": lambda _known, _heads: SoftPseudoLabeller(),
    "soft_detached": lambda _known, _heads: SoftPseudoLabeller(detach_weight=True),
    "argmax": lambda _known, _heads: FixedThreshold(0.0),
    "fixmatch": lambda _known, _heads: FixedThreshold(),
    "flexmatch": lambda _known, heads: ClassThreshold(heads),
    "freematch": lambda _known, heads: SelfAdaptiveThreshold(heads),
    "asymmetric": lambda known, _heads: AsymmetricThreshold(known),
    "nach": lambda known, _heads: TwoThresholds(known),
}
