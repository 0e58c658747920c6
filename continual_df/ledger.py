"""The ledger: what a run has paid, by task and phase.

Any code can say what its work is for::

    from continual_df.ledger import phase

    with phase("teacher"):
        target = self.teacher(batch["image"])

Phases are exclusive: what runs inside ``teacher`` is taken off the phase around it. Names in use: ``train``, ``replay``,
``validate``, ``predict`` (opened by the callback `ComputeLedger`), ``teacher``, ``selection``; new ones need no
registration. ``search`` is open around every trial of a search, ``pretrain`` holds what the weights of the start have cost
elsewhere. FLOPs are those of `continual_df.flops`.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

import torch

from continual_df.cost import Cost, Sizes, largest, peak_rss
from continual_df.flops import FlopCounter

SCHEMA = 2
CONVENTION = "one multiply-add is two FLOPs; matrix products, convolutions and attention only"

_cuda: Any = torch.cuda  # untyped functions in it
_current: ContextVar[Ledger | None] = ContextVar("ledger", default=None)


def phase(name: str, images: int = 0) -> AbstractContextManager[None]:
    """Charge what runs inside to phase ``name`` of the active ledger; without an active ledger, do nothing.

    Args:
        name: The phase.
        images: Images that the work inside goes through.
    """
    ledger = _current.get()
    return nullcontext() if ledger is None else ledger.phase(name, images)


def add_flops(flops: float) -> None:
    """Charge work that torch does not run (faiss, scikit-learn) to the open phase of the active ledger, if any."""
    ledger = _current.get()
    if ledger is not None:
        ledger.add_flops(flops)


@dataclass
class _Frame:
    """One level of open phases: to whom its costs go, and whether its operators are counted one by one."""

    shares: dict[str, float]
    counting: bool
    replayed: bool = False  # inside a step whose FLOPs are known already
    step: _Step | None = None


@dataclass
class _Step:
    key: Hashable
    rows: dict[str, int]
    seen: dict[str | None, float]  # FLOPs by nested phase; None: the step's own


class Ledger:
    """Costs by task (0: before the first) and phase.

    Set `task` when a task begins. A phase counts each operator that runs inside it; that is slow, so batches go through
    `open_step`, which counts the first one of each key and charges the same again for the others.

    Args:
        count_every_step: Count each step instead of the first one of its key: exact for a method whose steps do
            different work at equal keys, and slower.

    Attributes:
        task: Number of the task that pays.
        sizes: How large the learner was, by task.
        uncounted: Operators that ran and have no formula.
        notes: Sentences on what was paid and could not be counted.
        devices: What has trained, such as ``cpu`` or the name of a GPU: seconds are of these.
    """

    def __init__(self, count_every_step: bool = False) -> None:
        self.task = 0
        self.count_every_step = count_every_step
        self.sizes: dict[int, Sizes] = {}
        self.uncounted: set[str] = set()
        self.notes: set[str] = set()
        self.devices: set[str] = set()
        self._costs: dict[tuple[int, str], Cost] = {}
        self._steps: dict[Hashable, dict[str | None, float]] = {}
        self._stack: list[_Frame] = []
        self._counter = FlopCounter(self.uncounted)
        self._counted = 0
        self._mark = 0.0

    @contextmanager
    def activate(self) -> Iterator[Ledger]:
        """Make this the ledger that the functions `phase` and `add_flops` charge."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)

    @contextmanager
    def phase(self, name: str, images: int = 0) -> Iterator[None]:
        """Charge what runs inside to ``name``."""
        replayed = bool(self._stack) and self._stack[-1].replayed
        self._push(_Frame({name: 1.0}, counting=not replayed, replayed=replayed))
        try:
            yield
        finally:
            self._pop()
            self._cost(name).images += images

    def pause(self) -> None:
        """Stop counting operators, until `resume` or an inner phase or step; time still goes to the open phase."""
        top = self._stack[-1] if self._stack else None
        self._push(_Frame(dict(top.shares) if top else {}, counting=False, replayed=top is not None and top.replayed))

    def resume(self) -> None:
        """End the innermost `pause`."""
        self._pop()

    def open_step(self, rows: Mapping[str, int], key: Hashable, since: float | None = None) -> None:
        """Begin a batch, whose costs are split over phases by their rows, or go to the phase that is open already.

        Args:
            rows: Rows of the batch by phase; the step itself is counted under the first.
            key: Whatever fixes the work that the step does: shapes, mode, trainable parameters.
            since: Reading of `time.perf_counter` from which on time belongs to the step; default now.
        """
        if any(frame.step for frame in self._stack):
            raise RuntimeError("a step of this ledger is open already")
        total = sum(rows.values())
        if total <= 0:
            raise ValueError(f"rows is {dict(rows)}: a step needs at least one row")
        shares = {name: number / total for name, number in rows.items()}
        if self._stack and self._stack[-1].shares:  # an explicit phase (selection, search) claims what runs inside it
            shares = dict(self._stack[-1].shares)
            rows = {next(iter(shares)): total}
        known = key in self._steps and not self.count_every_step
        self._push(_Frame(shares, not known, known, _Step(key, dict(rows), {})), since)

    def close_step(self, complete: bool = True) -> None:
        """End the batch that is open; one that is not ``complete`` charges what it ran and teaches nothing."""
        self._charge()
        frame = self._stack[-1]
        assert frame.step is not None
        step = frame.step
        if complete:
            for number, (name, images) in enumerate(step.rows.items()):
                cost = self._cost(name)
                cost.images += images
                cost.steps += number == 0
            if frame.replayed:
                for nested, flops in self._steps[step.key].items():
                    self._add(frame.shares if nested is None else {nested: 1.0}, flops=flops)
            else:
                self._steps[step.key] = step.seen
        self._pop()

    @contextmanager
    def step(self, rows: Mapping[str, int], key: Hashable) -> Iterator[None]:
        """`open_step` and `close_step` around what runs inside."""
        self.open_step(rows, key)
        complete = False
        try:
            yield
            complete = True
        finally:
            self.close_step(complete)

    def forget_steps(self) -> None:
        """Count the next step of every key anew; for when the model may have changed under the same keys."""
        self._steps.clear()

    def add_flops(self, flops: float) -> None:
        """Charge ``flops`` to the open phase; inside a step whose FLOPs are known they are charged already."""
        if self._stack and not self._stack[-1].replayed:
            self._charge()
            self._see(flops)

    def cost(self, task: int | None = None, phases: Sequence[str] | None = None, but: Sequence[str] = ()) -> Cost:
        """Return the sum over ``task`` (default all) and ``phases`` (default all, without those in ``but``)."""
        total = Cost()
        for (number, name), cost in self._costs.items():
            if task in (None, number) and name not in but and (phases is None or name in phases):
                total.add(cost)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``compute.json``; its ``total`` is that of all phases but ``pretrain``."""
        tasks = []
        for task in sorted({*self.sizes, *(task for task, _ in self._costs)}):
            phases = {name: asdict(cost) for (at, name), cost in self._costs.items() if at == task}
            entry: dict[str, Any] = {"task": task, "phases": phases}
            if task in self.sizes:
                parameters = asdict(self.sizes[task])
                entry |= {"stored_bytes": parameters.pop("stored_bytes"), "parameters": parameters}
            tasks.append(entry)
        return {
            "schema": SCHEMA,
            "convention": CONVENTION,
            "tasks": tasks,
            "total": asdict(self.cost(but=["pretrain"])),
            "uncounted": sorted(self.uncounted),
            "notes": sorted(self.notes),
            "devices": sorted(self.devices),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all costs, and what the steps of each key cost, as plain values.

        With the latter, a fit that continues counts no step that an unbroken one would not: a counted step of a compiled
        model runs uncompiled, and rounds differently.
        """
        return {
            "costs": [[task, name, asdict(cost)] for (task, name), cost in self._costs.items()],
            "sizes": [[task, asdict(sizes)] for task, sizes in self.sizes.items()],
            "uncounted": sorted(self.uncounted),
            "notes": sorted(self.notes),
            "devices": sorted(self.devices),
            "steps": list(self._steps.items()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all costs, and what is known of steps, by those of ``state``."""
        self._costs = {(task, name): Cost(**cost) for task, name, cost in state["costs"]}
        self.sizes = {
            task: Sizes(**sizes) for task, sizes in state.get("sizes", [])
        }  # checkpoints of version 0.1 lack them
        self._steps = dict(state["steps"])
        self.uncounted.clear()  # the counter writes into this very set
        self.uncounted.update(state["uncounted"])
        self.notes = set(state.get("notes", ()))
        self.devices = set(state.get("devices", ()))

    def _cost(self, name: str) -> Cost:
        return self._costs.setdefault((self.task, name), Cost())

    def _add(self, shares: Mapping[str, float], flops: float = 0.0, seconds: float = 0.0) -> None:
        for name, share in shares.items():
            cost = self._cost(name)
            cost.flops += share * flops
            cost.seconds += share * seconds

    def _see(self, flops: float) -> None:
        """Charge FLOPs that were counted, and note them for later steps of the same key."""
        top = self._stack[-1]
        self._add(top.shares, flops=flops)
        step = next((frame.step for frame in self._stack if frame.step), None)
        if step is not None:
            nested = None if top.step else next(iter(top.shares))
            step.seen[nested] = step.seen.get(nested, 0.0) + flops

    def _charge(self) -> None:
        """Charge what has passed since the last call to the innermost open phase."""
        now, counted = time.perf_counter(), self._counter.total
        if self._stack:
            self._add(self._stack[-1].shares, seconds=now - self._mark)
            if counted > self._counted:
                self._see(counted - self._counted)
        self._mark, self._counted = now, counted

    def _push(self, frame: _Frame, since: float | None = None) -> None:
        self._charge()
        self._measure_memory()
        if since is not None:
            early = self._mark - since
            self._add(self._stack[-1].shares if self._stack else {}, seconds=-early)
            self._mark = since
        self._stack.append(frame)
        self._switch()

    def _pop(self) -> None:
        self._charge()
        self._measure_memory()
        self._stack.pop()
        self._switch()

    def _switch(self) -> None:
        """Start or stop the counter as the innermost frame wants it."""
        counting = bool(self._stack) and self._stack[-1].counting
        if counting and not self._counter.running:
            self._counter.start()
        elif not counting and self._counter.running:
            self._counter.stop()
        self._counted = self._counter.total

    def _measure_memory(self) -> None:
        """Note the peaks of the innermost open phase, and begin a new peak on the CUDA device."""
        cuda = None
        if _cuda.is_initialized():
            cuda = _cuda.max_memory_allocated()
            _cuda.reset_peak_memory_stats()
        if self._stack and self._stack[-1].shares:
            rss = peak_rss()
            for name in self._stack[-1].shares:
                cost = self._cost(name)
                cost.peak_rss_bytes = largest(cost.peak_rss_bytes, rss)
                cost.peak_cuda_bytes = largest(cost.peak_cuda_bytes, cuda)


def combine_ranks(states: Sequence[Mapping[str, Any]]) -> Ledger:
    """Return one ledger from the `Ledger.state_dict` of every process of a distributed run.

    FLOPs and images add up; seconds, steps and memory are those of the process with most. Every process holds the whole
    learner, so its sizes are those of one.
    """
    combined = Ledger()
    for state in states:
        rank = Ledger()
        rank.load_state_dict(state)
        for at, cost in rank._costs.items():
            combined._costs.setdefault(at, Cost()).add(cost, parallel=True)
        combined.uncounted |= rank.uncounted
        combined.notes |= rank.notes
        combined.devices |= rank.devices
        combined.sizes = rank.sizes
    return combined


def share_costs(states: Sequence[Mapping[str, Any]], rank: int, size: int) -> dict[str, Any]:
    """Return the `Ledger.state_dict` with which process ``rank`` of ``size`` takes over from processes of another number.

    FLOPs and images are dealt out, so that together they are what they were.
    """
    ledger = combine_ranks(states)
    for cost in ledger._costs.values():
        cost.flops /= size
        cost.images = cost.images // size + (rank < cost.images % size)
    return ledger.state_dict()
