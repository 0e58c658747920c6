"""Replay memory: rows of the frame table, never pictures, and the rule that chose them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from continual_df.memory.candidates import Candidates, SelectionRule, collect_candidates
from continual_df.memory.reservoir import select_reservoir
from continual_df.task import Extract, Rows


class ReplayMemory(nn.Module):
    """At most ``capacity`` images, real and fake together, in total or for each task.

    A module only so that its rows travel in the method's checkpoint; they stay on the CPU.

    Attributes:
        rows: The remembered rows, each sample once.
        stored: Fields of `Prediction` that are kept for each of them, as they were when it was chosen; set by a method.
        values: The kept fields, by name.

    Args:
        capacity: Number of images, at least 1; in total, or of each task.
        per_task: Keep ``capacity`` images of each task for ever, instead of sharing one budget among all tasks.
        rule: Selection rule, by import path; one with settings by ``class_path`` and ``init_args``.
        seed: Seed of the rule; write ``${seed_everything}`` in the YAML, so that it follows the run's.
    """

    def __init__(
        self, capacity: int, per_task: bool = False, rule: SelectionRule = select_reservoir, seed: int = 0
    ) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self.capacity, self.per_task, self.rule, self.seed = capacity, per_task, rule, seed
        self.rows = Rows.empty()
        self.stored: tuple[str, ...] = ()
        self.values: dict[str, Tensor] = {}

    def update(self, new: Rows, extract: Extract) -> Candidates:
        """Take in the training rows of a task that ended, and return what the rule chose from.

        A sample that is in memory already (a real that returns) is not counted twice: it keeps its first membership.

        Args:
            new: The rows.
            extract: What the method says of rows; asked for what the rule needs, and for `stored` of the rows chosen.
        """
        new = new.pick(~torch.isin(new.sample, self.rows.sample))
        if new.num == 0:
            return Candidates(new)
        candidates = collect_candidates(self._candidate_rows(new), self.rule, extract)
        chosen = candidates.rows.pick(self.rule(candidates, self.capacity, self.seed))
        fresh = chosen.pick(~torch.isin(chosen.sample, self.rows.sample))
        if self.stored and fresh.num:
            added = extract(fresh, self.stored)
            self.values = {name: _append(self.values.get(name), added[name]) for name in self.stored}
        rows = Rows.concat([self.rows, fresh])
        if not self.per_task:
            kept = torch.isin(rows.sample, chosen.sample)
            rows, self.values = rows.pick(kept), {name: value[kept] for name, value in self.values.items()}
        self.rows = rows
        return candidates

    def _candidate_rows(self, new: Rows) -> Rows:
        """Return what the rule may choose from, domain after domain, so that it gets each without a copy of features."""
        rows = new if self.per_task else Rows.concat([self.rows, new])
        return rows.pick((rows.task * 3 + rows.label).sort(stable=True).indices)

    def lookup(self, name: str, sample_B: Tensor) -> Tensor:
        """Return what is kept as ``name`` for the remembered rows ``sample_B``, on their device.

        Raises:
            ValueError: A sample is not in memory.
        """
        wanted_B = sample_B.cpu()
        known_B = torch.isin(wanted_B, self.rows.sample)
        if not known_B.all():
            raise ValueError(f"the memory holds no {name} of samples {wanted_B[~known_B].tolist()}")
        order_M = self.rows.sample.argsort()
        place_B = torch.searchsorted(self.rows.sample[order_M], wanted_B)
        return self.values[name][order_M[place_B]].to(sample_B.device)

    def get_extra_state(self) -> dict[str, dict[str, Tensor]]:
        """Return rows and values for the checkpoint, as plain tensors."""
        return {"rows": self.rows._asdict(), "values": self.values}

    def set_extra_state(self, state: Any) -> None:  # noqa: ANN401
        """Take rows and values from a checkpoint."""
        self.rows = Rows(**{name: value.cpu() for name, value in state["rows"].items()})
        self.values = {name: value.cpu() for name, value in state["values"].items()}


def _append(old: Tensor | None, new: Tensor) -> Tensor:
    """Return the rows of both; where columns came later (logits of new classes), older rows have NaN in them."""
    if old is None:
        return new
    missing = new.shape[-1] - old.shape[-1] if new.ndim > 1 else 0
    return torch.cat([F.pad(old, (0, missing), value=torch.nan), new])
