"""What a search of hyper-parameters tries: ranges by the names of settings, drawn by Optuna (Akiba et al., 2019, arXiv:1907.10902)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from continual_df.errors import ConfigError
from continual_df.randomness import seed_at

Value = float | int | str | bool | None
Record = dict[str, Any]
"""What is known of a finished trial: ``trial`` (its number), ``values`` by setting, ``state`` (``complete``, ``pruned`` or ``diverged``),
``best`` (None where nothing was measured), ``curve`` (`continual_df.callbacks.best_step.Point` each), ``flops``, ``seconds``."""

KEYS = ({"low", "high"}, {"low", "high", "log"}, {"low", "high", "step"}, {"choices"})
"""The keys that a range may have."""


@dataclass(frozen=True)
class Search:
    """Random search of hyper-parameters inside every task, on the task's own validation split.

    A trial trains the task from where it begins, with its own values; the weights of the best validation of all trials
    stay, and nothing else of it: what a method does after training is what its own settings say. Bornschein et al., 2023, arXiv:2211.11747 (NEVIS'22). Differs from its code: a trial counts by its best validation, whose weights
    it keeps, and not by its last one.

    Attributes:
        trials: Trials in each task; 0 for no search.
        space: Setting, as the YAML path of it (``model.init_args.optimizer.init_args.lr``) -> ``{low, high}``, with ``log: true`` for a
            logarithmic scale or a ``step``, or ``{choices: [...]}``. Integers stay integers.
        monitor: Logged metric of the validation that decides.
        mode: Whether the largest or the smallest value is best.
        prune_after: Validations after which a trial that is worse than the median of those before it that were not broken off, at the same
            validation, is broken off; null for never.
    """

    trials: int = 0
    space: dict[str, dict[str, Any]] = field(default_factory=dict)
    monitor: str = "val/auc"
    mode: Literal["max", "min"] = "max"
    prune_after: int | None = None

    def __post_init__(self) -> None:
        if self.trials < 0:
            raise ValueError(f"search.trials is {self.trials}: it must be at least 0")
        if self.prune_after is not None and self.prune_after < 1:
            raise ValueError(f"search.prune_after is {self.prune_after}: it must be at least 1, or null")
        if self.trials and not self.space:
            raise ValueError("search.space is empty: name the settings that the trials try, or set search.trials to 0")
        for name, entry in self.space.items():
            if name.startswith("model.init_args.memory"):
                raise ValueError(
                    f"search.space: '{name}' acts after a task is trained, where no trial could tell its values apart"
                )
            if set(entry) not in KEYS:
                raise ValueError(
                    f"search.space: the range of '{name}' is {entry}: give low and high (and log or step), or choices"
                )


def start_trial(search: Search, records: Sequence[Record], seed: int, task: int) -> Any:  # noqa: ANN401  optuna.Trial
    """Return the next trial after ``records``, whose ``params`` depend on (seed, task, its number) alone.

    Args:
        search: The settings.
        records: The trials before it.
        seed: Seed of the search.
        task: Index of the task.

    Raises:
        ConfigError: If Optuna is not installed, or a range is empty.
    """
    optuna = _load_optuna()
    pruner = optuna.pruners.NopPruner()
    if search.prune_after is not None:
        pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=search.prune_after - 1)
    study = optuna.create_study(
        direction="maximize" if search.mode == "max" else "minimize",
        sampler=optuna.samplers.RandomSampler(seed=seed_at(seed, task, len(records)) % 2**32),
        pruner=pruner,
    )
    space = {name: _distribution(optuna, name, entry) for name, entry in search.space.items()}
    for record in records:
        study.add_trial(_finished(optuna, record, space))
    return study.ask(space)


def best_record(search: Search, records: Sequence[Record]) -> Record | None:
    """Return the record with the best value, the first of equal ones; None where no trial measured anything."""
    measured = [record for record in records if record["best"] is not None]
    sign = 1 if search.mode == "max" else -1
    return max(measured, key=lambda record: sign * record["best"], default=None)


def _distribution(optuna: Any, name: str, entry: Mapping[str, Any]) -> Any:  # noqa: ANN401
    try:
        if "choices" in entry:
            return optuna.distributions.CategoricalDistribution(entry["choices"])
        options = {key: value for key, value in entry.items() if key in ("log", "step")}
        whole = all(isinstance(entry[key], int) for key in ("low", "high"))
        kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
        return kind(entry["low"], entry["high"], **options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"search.space: the range of '{name}', {dict(entry)}, cannot be drawn from: {error}"
        ) from error


def _finished(optuna: Any, record: Record, space: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return ``record`` as one of Optuna's trials."""
    states = optuna.trial.TrialState
    kinds = {"complete": states.COMPLETE, "pruned": states.PRUNED, "diverged": states.FAIL}
    state = kinds[record["state"]]
    return optuna.trial.create_trial(
        state=state,
        value=record["best"] if state == states.COMPLETE else None,
        params=record["values"],
        distributions=dict(space),
        intermediate_values={number: point[2] for number, point in enumerate(record["curve"])},
    )


def _load_optuna() -> Any:  # noqa: ANN401
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "search.trials needs Optuna, which is not installed: pip install 'continual-df[search]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line for every trial otherwise
    return optuna
