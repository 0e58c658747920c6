"""What a run carries from step to step besides the method and the Trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from continual_df.generators import generator_states, set_generator_states
from continual_df.ledger import Ledger, share_costs
from continual_df.metrics_log import MetricsLog
from continual_df.ranks import from_all, rank_and_size


class RunState:
    """Random generators and ledger of every process, the length of ``metrics.csv``, callbacks that outlive a task.

    Args:
        ledger: Compute ledger.
        log: Logger of ``metrics.csv``.
        callbacks: Callbacks that say ``across_tasks = True``.
    """

    def __init__(self, ledger: Ledger, log: MetricsLog, callbacks: Sequence[pl.Callback] = ()) -> None:
        self.ledger, self.log, self.callbacks = ledger, log, callbacks

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors and plain values; all processes must call it."""
        mine = {"generators": generator_states(), "ledger": self.ledger.state_dict()}
        return {
            "processes": from_all(mine),
            "metrics_bytes": self.log.length(),
            "callbacks": {callback.state_key: callback.state_dict() for callback in self.callbacks},
        }

    def load_state_dict(self, state: dict[str, Any], generators: bool = True) -> None:
        """Go back to ``state``.

        Args:
            state: What `state_dict` gave.
            generators: Whether the random generators go back too, or later, with `load_generators`.
        """
        rank, size = rank_and_size()
        ledgers = [process["ledger"] for process in state["processes"]]
        self.ledger.load_state_dict(ledgers[rank] if size == len(ledgers) else share_costs(ledgers, rank, size))
        self.log.rewind(state["metrics_bytes"])
        for callback in self.callbacks:
            if callback.state_key in state["callbacks"]:
                callback.load_state_dict(state["callbacks"][callback.state_key])
        if generators:
            self.load_generators(state)

    def load_generators(self, state: dict[str, Any]) -> None:
        """Bring the random generators of this process to those of ``state``."""
        processes = state["processes"]  # where there are more now than there were, theirs are handed round
        set_generator_states(processes[rank_and_size()[0] % len(processes)]["generators"])
