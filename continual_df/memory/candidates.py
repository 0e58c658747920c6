"""What a selection rule sees: rows and, where it asks, what the method says of them; never the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from continual_df.task import Extract, Rows, View

CHUNK_ROWS = 8192
"""Rows that are asked for at a time: what is on its way is bounded, whatever the number of candidates."""


@dataclass(frozen=True)
class Candidates:
    """Rows that a selection rule may choose from; beside the rows, what the rule names in ``needs`` alone is there.

    Attributes:
        rows: The rows, each sample once.
        feature_ND: Pooled features, float32.
        stability_N: How little the features of the rule's ``view`` of the images differ from theirs.
        fake_logit_N: Logits of P(fake).
    """

    rows: Rows
    feature_ND: Tensor | None = None
    stability_N: Tensor | None = None
    fake_logit_N: Tensor | None = None

    @property
    def num(self) -> int:
        """Number of rows."""
        return self.rows.num

    def given(self, name: str) -> Tensor:
        """Return the field ``name``.

        Raises:
            ValueError: It is not there, so the rule does not name it in ``needs``.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise ValueError(f"the candidates hold no {name}: name it in the `needs` of the selection rule")
        return value

    def pick(self, index: Tensor | slice) -> Candidates:
        """Return the candidates at ``index`` (positions, a mask, or a slice, which copies nothing)."""
        values = (getattr(self, one.name) for one in fields(self) if one.name != "rows")
        return Candidates(
            self.rows.pick(index),
            *(None if value is None else value[index] for value in values),
        )


SelectionRule = Callable[[Candidates, int, int], Any]
"""``(candidates, budget, seed) -> positions``: min(budget, N) different positions, a Tensor; a pure function.

Its attribute ``needs`` (a frozenset) names the fields of `Candidates` that it reads; without it, the rows alone. A rule
that needs ``stability_N`` has ``view``, a `View` of the images, and ``stability(feature_ND, shuffled_ND) -> (N,)``, which
compares the features of the images with those of their view. A rule with settings is a class whose instances are called.

Any stands for the Tensor: a class there would be read as what a ``class_path`` in the YAML must make.
"""

PREDICTED = {"feature_ND": "features", "fake_logit_N": "fake_logit"}
"""Field of `Candidates` -> field of a method's `Prediction`."""


def collect_candidates(rows: Rows, rule: SelectionRule, extract: Extract) -> Candidates:
    """Return ``rows`` with what ``rule`` needs; holds N x D features and a chunk, and sees each image at most twice."""
    needs: frozenset[str] = getattr(rule, "needs", frozenset())
    if unknown := needs - {*PREDICTED, "stability_N"}:
        raise ValueError(f"a selection rule can need feature_ND, stability_N, fake_logit_N; {rule} needs {unknown}")
    viewed = "stability_N" in needs
    names = [name for name in PREDICTED if name in needs or (viewed and name == "feature_ND")]
    held = _extract_in_chunks(rows, tuple(PREDICTED[name] for name in names), extract)
    values = {name: held[PREDICTED[name]] for name in names}
    if viewed:
        view: View = rule.view  # type: ignore[attr-defined]
        feature_ND = values["feature_ND"]
        values["stability_N"] = torch.cat(
            [
                rule.stability(feature_ND[part], extract(rows.pick(part), ("features",), view)["features"])  # type: ignore[attr-defined]
                for part in _chunks(rows.num)
            ]
        )
    return Candidates(rows, **values)


def _chunks(num: int) -> list[slice]:
    return [slice(start, min(start + CHUNK_ROWS, num)) for start in range(0, num, CHUNK_ROWS)]


def _extract_in_chunks(rows: Rows, names: tuple[str, ...], extract: Extract) -> dict[str, Tensor]:
    """Return the fields ``names`` of the predictions for ``rows``."""
    held: dict[str, Tensor] = {}
    for part in _chunks(rows.num) if names else []:
        for name, value in extract(rows.pick(part), names).items():
            if name not in held:
                held[name] = value.new_empty((rows.num, *value.shape[1:]))
            held[name][part] = value
    return held
