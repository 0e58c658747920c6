"""Orders of the tasks of a stream: by date, family, difficulty, chance or hand."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

import numpy as np

from continual_df.class_names import BETWEEN
from continual_df.data.methods import canonical, known_method
from continual_df.data.release_dates import release_dates
from continual_df.errors import StreamError
from continual_df.randomness import priority

FAMILIES = ("swap", "reenactment", "synthesis", "edit", "mixed")
"""Order of the families; ``mixed`` are methods, and tasks, of several."""

By = Literal["given", "date", "family", "difficulty", "permutation", "list"]

SHORT: dict[str, By] = {"given": "given", "date": "date", "family": "family"}
"""Words that stand for an order without settings."""

_SETTINGS = {
    "date": {"dates"},
    "family": {"families"},
    "difficulty": {"run"},
    "permutation": {"seed"},
    "list": {"names"},
}
_NEEDED = {"difficulty": "run: runs/independent", "list": "names: [first, second]", "permutation": "seed: 0"}


@dataclass(frozen=True)
class TaskOrder:
    """In which order the tasks of a stream come; equals keep the order in which they are given.

    Attributes:
        by: ``given``: as the YAML lists them. ``date``: by the earliest release among the methods that a task labels. ``family``:
            swap, reenactment, synthesis, edit, and last tasks of several. ``difficulty``: easiest first, by the AUC that a
            finished run had on each task just after learning it. ``permutation``: at random. ``list``: by hand.
        dates: Releases (``YYYY-MM`` or ``YYYY-MM-DD``) of methods that the package knows no date of, or another one; a
            month counts as its first day.
        families: Families of methods that the package does not know.
        run: Folder of the finished run, whose tasks are matched by their methods, equal ones one after the other.
        seed: Seed of the permutation, which depends on nothing else.
        names: Names of all tasks in order; a name that stands for several tasks is repeated.
    """

    by: By
    dates: dict[str, str] | None = None
    families: dict[str, Literal["swap", "reenactment", "synthesis", "edit", "mixed"]] | None = None
    run: str | None = None
    seed: int | None = None
    names: list[str] | None = None

    def describe(self) -> dict[str, Any]:
        """Return the settings that were given."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def check_order(order: TaskOrder | str) -> TaskOrder:
    """Return ``order``, or the one that a word is short for.

    Raises:
        ValueError: For another word, a setting that belongs to another order, or one that is missing.
    """
    if isinstance(order, str):
        if order not in SHORT:
            raise ValueError(
                f"data.init_args.order is '{order}'; write {', '.join(SHORT)}, or e.g. {{by: list, names: [...]}}"
            )
        return TaskOrder(SHORT[order])
    given = set(order.describe()) - {"by"}
    for name in sorted(given - _SETTINGS.get(order.by, set())):
        home = next(by for by, names in _SETTINGS.items() if name in names)
        raise ValueError(f"data.init_args.order: '{name}' goes with by: {home}, not with by: {order.by}")
    if order.by in _NEEDED and not given:
        raise ValueError(f"data.init_args.order: by: {order.by} needs more, e.g. {_NEEDED[order.by]}")
    return order


class Arrangement(NamedTuple):
    """Where the tasks of a stream came from.

    Attributes:
        positions: For each task in the realised order, its position among the given ones.
        dates: The date by which each was placed, where the order is by date.
    """

    positions: list[int]
    dates: list[str] | None = None


class Named(NamedTuple):
    """What an order knows of a task: its name and the methods that it labels."""

    name: str
    methods: tuple[str, ...]


def arrange(
    order: TaskOrder, tasks: Sequence[Named], scored: Sequence[tuple[Sequence[str], float]] = ()
) -> Arrangement:
    """Return ``tasks`` in ``order``; ``scored`` is what `by_difficulty` takes.

    Raises:
        StreamError: Where the order does not fit the tasks.
    """
    if order.by == "date":
        return by_date(tasks, order.dates)
    if order.by == "family":
        return Arrangement(by_family(tasks, order.families))
    if order.by == "difficulty":
        return Arrangement(by_difficulty(tasks, scored, str(order.run)))
    if order.by == "permutation":
        return Arrangement(by_permutation(len(tasks), order.seed or 0))
    if order.by == "list":
        return Arrangement(by_list(tasks, order.names or []))
    return Arrangement(list(range(len(tasks))))


def by_date(tasks: Sequence[Named], dates: Mapping[str, str] | None = None) -> Arrangement:
    """Return ``tasks`` by the earliest release among the methods of each, with those releases.

    Args:
        tasks: Tasks in the given order.
        dates: Releases that go before the package's own.

    Raises:
        StreamError: For a method without a date, or a date that is none.
    """
    known = {**release_dates(), **{_plain(name): _checked(name, day) for name, day in (dates or {}).items()}}
    first = []
    for number, task in enumerate(tasks, start=1):
        for method in map(_plain, task.methods):
            if not known.get(method):
                raise StreamError(
                    f"order by date: no release of '{method}' (task {number}, '{task.name}') is known. Add one to the YAML: "
                    f"order: {{by: date, dates: {{{method}: 2024-05}}}}."
                )
        first.append(min((known[_plain(method)] for method in task.methods), key=_first_day))
    order = _sorted([_first_day(day) for day in first])
    return Arrangement(order, [first[place] for place in order])


def by_family(tasks: Sequence[Named], families: Mapping[str, str] | None = None) -> list[int]:
    """Return the positions of ``tasks`` in the order of `FAMILIES`; a task of several families is mixed.

    Args:
        tasks: Tasks in the given order.
        families: Families that go before the package's own.

    Raises:
        StreamError: For a method without a family.
    """
    named = {_plain(name): family for name, family in (families or {}).items()}
    ranks = []
    for number, task in enumerate(tasks, start=1):
        found = set()
        for method in map(_plain, task.methods):
            known = known_method(method)
            family = named.get(method) or (known.family if known else None)
            if family is None:
                raise StreamError(
                    f"order by family: the family of '{method}' (task {number}, '{task.name}') is not known. Add it to the YAML: "
                    f"order: {{by: family, families: {{{method}: swap}}}} (or {', '.join(FAMILIES[1:])})."
                )
            found.add(family)
        ranks.append(FAMILIES.index(found.pop() if len(found) == 1 else "mixed"))
    return _sorted(ranks)


def by_difficulty(tasks: Sequence[Named], scored: Sequence[tuple[Sequence[str], float]], where: str) -> list[int]:
    """Return the positions of ``tasks`` by falling score, the easiest first.

    Args:
        tasks: Tasks in the given order.
        scored: Methods and score of every task of a run. Of several with the same methods, the first is for the first such
            task, and so on.
        where: Where the scores came from, for messages.

    Raises:
        StreamError: For a task that has no score.
    """
    left: dict[frozenset[str], list[float]] = defaultdict(list)
    for methods, score in scored:
        left[frozenset(map(_plain, methods))].append(score)
    scores: list[float] = []
    for number, task in enumerate(tasks, start=1):
        own = left[frozenset(map(_plain, task.methods))]
        if not own:
            raise StreamError(
                f"order by difficulty: '{where}' has no task (left) with the methods of task {number} "
                f"('{task.name}': {', '.join(task.methods)}). Name a finished run over the same tasks."
            )
        scores.append(own.pop(0))
    return _sorted([-score for score in scores])


def by_permutation(num: int, seed: int) -> list[int]:
    """Return a permutation of ``num`` positions that depends on ``num`` and ``seed`` alone."""
    return _sorted(priority(seed, np.arange(num)).tolist())


def by_list(tasks: Sequence[Named], names: Sequence[str]) -> list[int]:
    """Return the positions of ``tasks`` in the order of ``names``.

    Raises:
        StreamError: If a name is of no task, or a task is not named.
    """
    left: dict[str, list[int]] = defaultdict(list)
    for place, task in enumerate(tasks):
        left[task.name].append(place)
    order = []
    for name in names:
        if not left.get(name):
            near = difflib.get_close_matches(name, [task.name for task in tasks], n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"they are {', '.join(task.name for task in tasks)}."
            raise StreamError(f"order by list: no{' further' if name in left else ''} task is called '{name}'; {hint}")
        order.append(left[name].pop(0))
    missing = sorted(place for places in left.values() for place in places)
    if missing:
        raise StreamError(
            f"order by list: task '{tasks[missing[0]].name}' is not named. An order names every task once."
        )
    return order


def _plain(method: str) -> str:
    """Return the canonical method of a class, without its source."""
    return canonical(method.partition(BETWEEN)[0])


def _checked(method: str, day: str) -> str:
    """Return ``day``, or refuse it where it is no date."""
    try:
        if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", day):
            raise ValueError
        date.fromisoformat(_first_day(day))
    except ValueError:
        raise StreamError(
            f"order by date: '{day}', the date of '{method}', is none. Write 2024-05 or 2024-05-31."
        ) from None
    return day


def _first_day(day: str) -> str:
    """Return ``day``, or the first of it where it is a month."""
    return day if len(day) == len("2024-05-31") else f"{day}-01"


def _sorted(keys: Sequence[Any]) -> list[int]:
    """Return the positions of ``keys`` by value; equal ones keep their order."""
    return sorted(range(len(keys)), key=keys.__getitem__)
