"""All sections of an audit, and what of them is flagged."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from continual_df.audit.label_noise import LabelNoise
from continual_df.audit.leakage import Leak
from continual_df.audit.probe import Probe
from continual_df.audit.shortcut import THRESHOLD, Comparison
from continual_df.data.check import Check


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        name: Run or table.
        files: Files and tables against what was stored.
        leaks: Leaks between splits.
        methods: Each method against the reals of its domain.
        domains: Reals of two domains against each other.
        noise: Contradicted labels.
        no_noise: Why no labels were looked at; empty where some were.
    """

    name: str
    files: list[Check]
    leaks: list[Leak]
    methods: list[Comparison]
    domains: list[Comparison]
    noise: list[LabelNoise]
    no_noise: str = ""

    def flagged(self) -> list[str]:
        """Return one line for each finding: a leak, a file or table that changed, a shortcut of a method.

        Domains that differ are no fault as long as every fake has reals of its own, and a contradicted label is as
        often the detector's mistake: neither is flagged.
        """
        checks = [*self.files, *(leak.check for leak in self.leaks)]
        found = [f"{check.name}: {check.detail}" for check in checks if check.status not in ("ok", "not checked")]
        for item in self.methods:
            if item.high and item.probe is not None:
                what = f"AUC {item.probe.auc:.2f} by trivial statistics"
                found.append(f"shortcut of {item.name} against reals of {item.against}: {what}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``audit.json``; a number that could not be measured is null."""
        return {
            "schema": 1,
            "name": self.name,
            "flagged": self.flagged(),
            "files": [asdict(check) for check in self.files],
            "leakage": [
                {**asdict(leak.check), "between": [list(pair) for pair in leak.between]} for leak in self.leaks
            ],
            "shortcut": {
                "threshold": THRESHOLD,
                "methods": [_comparison(item) for item in self.methods],
                "domains": [_comparison(item) for item in self.domains],
            },
            "label_noise": [
                {
                    "evidence": noise.evidence,
                    "checked": noise.num_checked,
                    "notes": list(noise.notes),
                    "rows": noise.rows.to_dict("records"),
                }
                for noise in self.noise
            ],
            "label_noise_missing": self.no_noise,
        }


def _comparison(item: Comparison) -> dict[str, Any]:
    head: dict[str, Any] = {"name": item.name, "against": item.against, "within_domain": item.within}
    notes = [*item.notes, *(item.probe.notes if item.probe else ["one side has no readable image"])]
    return {**head, "high": item.high, **(_probe(item.probe) if item.probe else {}), "notes": notes}


def _probe(result: Probe) -> dict[str, Any]:
    test = result.test
    interval = None
    if test is not None:
        interval = {
            "auc": _number(test.value),
            "low": _number(test.low),
            "high": _number(test.high),
            "groups": test.num_groups,
        }
    return {
        "test": interval,
        "folds": result.folds,
        "images": {split: list(pair) for split, pair in result.counts.items()},
        "features": dict(result.features),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
