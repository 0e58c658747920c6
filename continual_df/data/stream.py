"""The stream: which rows of the frame table belong to which task, and under which split."""

from __future__ import annotations

import difflib
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from continual_df.class_names import BETWEEN, class_names
from continual_df.data.frame_table import DEV_TEST, SPLITS, FrameTable
from continual_df.data.methods import canonical
from continual_df.errors import StreamError
from continual_df.labels import FAKE, REAL, REAL_METHOD, UNKNOWN
from continual_df.randomness import priority
from continual_df.task import Rows, Task

HELD_OUT = -1
"""Task index of test rows that belong to no task: held-out methods, controls, and the reals of their sources."""

UNUSED = "unused"
"""Split, while a stream is built, of the test images on which nothing is evaluated."""

RealPolicy = Literal["split", "reuse", "none"]
RealDomain = Literal["shared", "task", "source"]
EvaluateOn = Literal["test", "dev_test"]

ALL_OF = ".*"
"""End of a name that stands for all classes whose names begin so."""


@dataclass
class TaskSpec:
    """What a YAML says about one task.

    A class is named by its method, or as ``method@source`` where the images of one source are a class of their own
    (``stylegan2@forgerynir``, ``real@celebdf``). ``mnist.*`` are all classes whose names begin with ``mnist.``.

    Attributes:
        methods: Classes that are labelled in this task; its reals are, too.
        name: Name in tables and figures; by default the methods joined by ``+``. Where several tasks share one, the second
            becomes ``name (2)``, and so on.
        unlabelled: Classes whose training images are present without a label.
        source: Restrict the task to these sources (domains); by default all sources in which its methods occur.
        labelled: Which training images of ``methods`` and of the reals have a label: this share of each class, by group
            and at least one group, or ``tag``: those whose column ``tag`` is 1. The others are present without one.
    """

    methods: list[str]
    name: str | None = None
    unlabelled: list[str] = field(default_factory=list)
    source: list[str] | None = None
    labelled: float | Literal["tag"] = 1.0


@dataclass
class Stream:
    """A realised stream.

    Attributes:
        table: Frame table; its row number is ``sample``.
        tasks: Tasks in order.
        membership: Columns ``sample``, ``task`` (`HELD_OUT` for none), ``split`` (train, val, test, unlabelled).
        held_out: Classes that are only ever tested on.
        name: Name in figures; empty where it has none.
        revealed: Whether unlabelled rows carry their label after all: the upper bound of what could be learnt from them.
        evaluated_on: The table's split that the membership calls ``test``: ``test`` or ``dev_test``.
        order: In which order the tasks come, and from which: content of ``order`` in ``stream.json``.
    """

    table: FrameTable
    tasks: list[Task]
    membership: pd.DataFrame
    held_out: tuple[str, ...] = ()
    name: str = ""
    revealed: bool = False
    evaluated_on: EvaluateOn = "test"
    order: dict[str, Any] = field(default_factory=lambda: {"by": "given"})

    @cached_property
    def group_N(self) -> Tensor:
        """Number of the group of each row of the frame table."""
        return torch.from_numpy(pd.factorize(self.table.frame["group"])[0].astype(np.int64))

    def rows(self, task: int, split: str) -> Rows:
        """Return the rows of ``task`` (index) in ``split``, in table order; unlabelled ones carry no label.

        Where they are revealed, classes that no task names have the ids after those of the named ones.
        """
        member = self.membership[(self.membership["task"] == task) & (self.membership["split"] == split)]
        frame = self.table.frame.loc[member["sample"]]
        if split == "unlabelled" and not self.revealed:
            label = method = np.full(len(member), UNKNOWN)
        else:
            ids = self.tasks[task].class_ids if task != HELD_OUT else self.tasks[-1].class_ids
            if split == "unlabelled":
                unnamed = [name for name in self.tasks[task].unlabelled if name not in ids]
                ids = {**ids, **{name: len(ids) + number for number, name in enumerate(unnamed)}}
            label = frame["label"].to_numpy()
            method = class_names(frame, self.names).map(ids).fillna(UNKNOWN).to_numpy()
        columns = (member["sample"].to_numpy(), label, method, np.full(len(member), task))
        return Rows(*(torch.tensor(np.array(column, dtype=np.int64)) for column in columns))

    @property
    def names(self) -> set[str]:
        """The names of all classes, but ``real``."""
        return {name for task in self.tasks for name in (*task.methods, *task.unlabelled)} | set(self.held_out)

    def test_samples(self) -> np.ndarray:
        """Return the samples of all test sets, held-out ones included, each once and sorted."""
        test = self.membership.loc[self.membership["split"] == "test", "sample"]
        return np.unique(test.to_numpy())

    def describe(self) -> dict[str, Any]:
        """Return the content of ``stream.json``: tasks, counts by split and method, and a hash of the membership."""
        classes = class_names(self.table.frame, self.names)
        named = self.membership.assign(method=classes.loc[self.membership["sample"]].to_numpy())

        def counts(task: int) -> dict[str, dict[str, int]]:
            rows = named[named["task"] == task]
            return {
                str(split): {str(k): int(v) for k, v in part["method"].value_counts().sort_index().items()}
                for split, part in rows.groupby("split")
            }

        digest = hashlib.blake2b(digest_size=16)
        paths = self.table.frame.loc[self.membership["sample"], "path"].to_numpy()
        for path, task, split in zip(paths, self.membership["task"], self.membership["split"], strict=True):
            digest.update(f"{path}\0{task}\0{split}\n".encode())
        return {
            "schema": 1,
            "name": self.name,
            "evaluated_on": self.evaluated_on,
            "order": self.order,
            "tasks": [
                {
                    "index": task.index,
                    "name": task.name,
                    "methods": list(task.methods),
                    "unlabelled": list(task.unlabelled),
                    "class_ids": task.class_ids,
                    "real_domain": task.real_domain,
                    "counts": counts(task.index),
                }
                for task in self.tasks
            ],
            "held_out": list(self.held_out),
            "held_out_counts": counts(HELD_OUT),
            "skipped": self.table.skipped_by_reason(),
            "hash": digest.hexdigest(),
        }


def build_stream(
    table: FrameTable,
    specs: list[TaskSpec],
    *,
    reals: RealPolicy = "reuse",
    real_domain: RealDomain = "task",
    held_out: list[str] | None = None,
    max_images: dict[str, int] | None = None,
    counts: dict[str, int] | None = None,
    reveal: bool = False,
    seed: int = 0,
    evaluate_on: EvaluateOn = "test",
) -> Stream:
    """Order the methods of ``table`` into tasks and give each task the reals of its own sources.

    Args:
        table: Frame table with a filled ``split`` column.
        specs: Tasks in order.
        reals: ``split`` gives each real image to one task only (by group, in proportion to the tasks' fakes);
            ``reuse`` gives every task all reals of its sources; ``none`` leaves reals out, to attribute fakes alone.
        real_domain: Whether the reals of all tasks count as one domain (``shared``), each task's as its own (``task``), or those of
            tasks with the same sources as one (``source``).
        held_out: Methods for testing only.
        max_images: Largest number of images by split and class (real, fake) in each task; whole groups are preferred,
            so that a real and the fakes made from it stay together.
        counts: Images that the table must hold of each of these classes, in all splits.
        reveal: Let unlabelled images carry their label, for an upper bound.
        seed: Decides the sharing of reals, the sub-samples, and which images are without a label.
        evaluate_on: Split that is called ``test`` in the membership; the other one, ``test`` or ``dev_test``, is in no task.

    Raises:
        StreamError: For an unknown method, one that is labelled and unlabelled or held out at once, an empty split, or other counts.
            A method may come in several tasks: tasks are told apart by their index.
    """
    frame = _evaluated(table.frame, evaluate_on)
    used = (frame["split"] != UNUSED).to_numpy()
    known = set(frame["method"])

    def names(methods: list[str]) -> list[str]:
        """Return the table's own names: ``sd21`` finds ``sd2.1``, as readers write it, and ``mnist.*`` what begins so."""
        found = []
        for method in methods:
            name, at, source = method.partition(BETWEEN)
            all_of = sorted(one for one in known if name.endswith(ALL_OF) and one.startswith(name.removesuffix("*")))
            found += [one + at + source for one in all_of or [name if name in known else canonical(name)]]
        return found

    held = names(held_out or [])
    specs = [
        replace(spec, name=_title(spec, names), methods=names(spec.methods), unlabelled=names(spec.unlabelled))
        for spec in specs
    ]
    if not specs:
        raise StreamError("The stream has no task: name at least one in data.init_args.tasks.")
    if reveal and len(specs) > 1:
        raise StreamError(
            f"reveal_unlabelled is the upper bound of one task, but the stream has {len(specs)}, along which heads move: name "
            "all methods in one task, or set data.init_args.reveal_unlabelled to false."
        )
    kind = class_names(frame, [name for spec in specs for name in (*spec.methods, *spec.unlabelled)] + held)
    _check_methods(kind, specs, held)
    _check_counts(kind, counts or {})
    class_ids = {REAL_METHOD: REAL}
    tasks: list[Task] = []
    picked: list[tuple[Task, Any, Any, list[str]]] = []
    for index, spec in enumerate(specs):
        for method in spec.methods:
            class_ids.setdefault(method, len(class_ids))
        name = _unique(str(spec.name), {task.name for task in tasks})
        inside = frame["source"].isin(spec.source).to_numpy() if spec.source else np.ones(len(frame), dtype=bool)
        labelled = kind.isin(spec.methods).to_numpy() & inside
        unlabelled = kind.isin(spec.unlabelled).to_numpy() & inside & (frame["split"] == "train").to_numpy()
        own = sorted(set(frame.loc[labelled | unlabelled, "source"]))
        domains = {"shared": 0, "task": index, "source": next((t.index for t, *_, o in picked if o == own), index)}
        tasks.append(
            Task(index, name, tuple(spec.methods), tuple(spec.unlabelled), dict(class_ids), domains[real_domain])
        )
        picked.append((tasks[-1], labelled, unlabelled, own))
    owner = _share_reals(frame, picked, seed) if reals == "split" else None
    parts = []
    real = (kind == REAL_METHOD).to_numpy() & (reals != "none")
    for spec, (task, labelled, unlabelled, own) in zip(specs, picked, strict=True):
        mine = real & frame["source"].isin(own).to_numpy()
        if owner is not None:
            mine = mine & (owner == task.index)
        member = frame.loc[(labelled | mine) & used, ["split"]].assign(task=task.index)
        member = _subsample(frame, member, max_images or {}, seed)
        member = _hide(frame, member, kind, spec.labelled, seed)
        parts += [member, _members(frame, unlabelled, task, "unlabelled")]
        for split in SPLITS:
            _check_filled(frame, member, task, split, reals, evaluate_on)
    never = [m for spec in specs for m in spec.unlabelled if m not in class_ids]
    tested = kind.isin([*held, *never]).to_numpy()
    sources = sorted(set(frame.loc[tested, "source"]))
    tested = tested | (real & frame["source"].isin(sources).to_numpy())
    tested = tested & (frame["split"] == "test").to_numpy()
    parts.append(frame.loc[tested, ["split"]].assign(task=HELD_OUT))
    membership = pd.concat(parts).rename_axis("sample").reset_index()[["sample", "task", "split"]]
    tested_only = tuple(dict.fromkeys([*held, *never]))
    return Stream(table, tasks, membership, tested_only, revealed=reveal, evaluated_on=evaluate_on)


def _evaluated(frame: pd.DataFrame, evaluate_on: EvaluateOn) -> pd.DataFrame:
    """Return ``frame`` whose split ``test`` is what is evaluated on, and `UNUSED` what is not."""
    if evaluate_on == "test" and not (frame["split"] == DEV_TEST).any():
        return frame
    other = "test" if evaluate_on == DEV_TEST else DEV_TEST
    return frame.assign(split=frame["split"].replace({evaluate_on: "test", other: UNUSED}))


def _title(spec: TaskSpec, names: Callable[[list[str]], list[str]]) -> str:
    """Return the name of a task: its own, or its methods joined by ``+``."""
    parts = [method.removesuffix(ALL_OF) if method.endswith(ALL_OF) else names([method])[0] for method in spec.methods]
    return spec.name or "+".join(parts)


def _unique(name: str, taken: set[str]) -> str:
    """Return ``name``, or the first of ``name (2)``, ``name (3)``, ... that is not taken."""
    numbered = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    return next(title for title in numbered if title not in taken)


def _check_methods(kind: pd.Series, specs: list[TaskSpec], held: list[str]) -> None:
    """Refuse classes that the table does not hold, and tasks without any."""
    known = sorted(set(kind) - {REAL_METHOD})
    for index, spec in enumerate(specs):
        if not spec.methods:
            raise StreamError(f"Task {index + 1} of data.init_args.tasks names no method.")
        both = set(spec.methods) & {*spec.unlabelled, *held}
        if both:
            raise StreamError(f"Task {index + 1}: '{min(both)}' cannot be labelled and unlabelled or held out at once.")
    wanted = [(f"task {i + 1}", m) for i, spec in enumerate(specs) for m in [*spec.methods, *spec.unlabelled]]
    for place, method in wanted + [("held_out", m) for m in held]:
        if method not in known:
            near = difflib.get_close_matches(method, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the table holds {', '.join(known) or 'no fakes'}."
            raise StreamError(f"Unknown method '{method}' in {place} of the stream: {hint}")


def _check_counts(kind: pd.Series, counts: dict[str, int]) -> None:
    """Refuse a table that holds more or fewer images of a class than ``counts`` says."""
    found = kind.value_counts()
    wrong = [
        f"{name}: {found.get(name, 0)} in place of {wanted}"
        for name, wanted in counts.items()
        if found.get(name, 0) != wanted
    ]
    if wrong:
        raise StreamError(
            f"data.init_args.counts: the tables hold other numbers of images ({', '.join(wrong)}). Complete the data set, or "
            "take the counts out of the YAML and say that the stream is another one."
        )


def _check_filled(
    frame: pd.DataFrame, member: pd.DataFrame, task: Task, split: str, reals: RealPolicy, evaluate_on: EvaluateOn
) -> None:
    """Refuse a task whose ``split`` has no fakes, or no reals to train and validate with."""
    labels = set(frame.loc[member.index[member["split"] == split], "label"])
    missing = {FAKE} - labels if reals == "none" or (split == "test" and labels) else {REAL, FAKE} - labels
    if missing:
        kind = "reals of its sources" if missing == {REAL} else "fakes" if missing == {FAKE} else "images"
        split = evaluate_on if split == "test" else split
        fix = "check the table's split"
        if split in ("val", DEV_TEST):
            fix = (
                f"set {split}_fraction to take some from train, and link_identities: false where swaps link all people"
            )
        raise StreamError(f"Task {task.number} ('{task.name}') has no {kind} in split '{split}': {fix}.")


def _hide(
    frame: pd.DataFrame, member: pd.DataFrame, kind: pd.Series, labelled: float | Literal["tag"], seed: int
) -> pd.DataFrame:
    """Take the labels of all but the ``labelled`` training rows: their split becomes ``unlabelled``.

    A share keeps, in each class, the groups of least priority whose rows before them are fewer than the share.
    """
    train = member.index[member["split"] == "train"]
    if labelled == "tag":
        if "tag" not in frame.columns:
            raise StreamError("labelled: tag needs a column 'tag' (1 labelled, 2 unlabelled), which the tables lack.")
        untagged = member.index[(frame.loc[member.index, "tag"] != 1).to_numpy()]
        member = member[~(member.index.isin(untagged) & (member["split"] == "val"))]  # no label, nothing to select by
        hidden = train[train.isin(untagged)]
    elif not 0 < labelled <= 1:
        raise StreamError(f"labelled must be 'tag' or a share in (0, 1], got {labelled}.")
    else:
        rows = frame.loc[train].assign(kind=kind[train])
        order = rows.assign(key=_group_priority(rows, seed)).sort_values(["key", "group"], kind="stable")
        place = order.groupby("kind").cumcount()
        first = place.groupby([order["kind"], order["group"]]).transform("min")
        hidden = order.index[first >= labelled * order.groupby("kind")["group"].transform("size")]
    return member.assign(split=member["split"].mask(member.index.isin(hidden), "unlabelled"))


def _members(frame: pd.DataFrame, rows: np.ndarray, task: Task, split: str) -> pd.DataFrame:
    """Return memberships of ``rows`` in ``task`` under ``split``."""
    return frame.loc[rows, []].assign(split=split, task=task.index)


def _share_reals(frame: pd.DataFrame, picked: list[Any], seed: int) -> np.ndarray:
    """Return for each row the index of the one task that may use it as a real.

    Groups of a source are ordered by their priority and cut in proportion to the tasks' fakes in that source, within
    each split.
    """
    owner = np.full(len(frame), HELD_OUT)
    real = frame[frame["method"] == REAL_METHOD]
    for (source, split), rows in real.groupby(["source", "split"]):
        here = ((frame["source"] == source) & (frame["split"] == split)).to_numpy()
        weight = np.array([float((labelled & here).sum()) for _, labelled, _, _ in picked])
        if not weight.any():
            continue
        order = rows.assign(key=_group_priority(rows, seed)).sort_values(["key", "group"], kind="stable")
        edges = np.cumsum(weight) / weight.sum()
        first = order.groupby("group", sort=False).cumcount().to_numpy() == 0
        place = (np.flatnonzero(first)[np.cumsum(first) - 1] + 0.5) / len(order)  # where the row's group begins
        owner[order.index.to_numpy()] = np.searchsorted(edges, place, side="right")
    return owner


def _group_priority(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """Return one number per row, the same for all rows of a group, from (seed, group) alone."""
    names, code = np.unique(rows["group"].to_numpy(dtype=str), return_inverse=True)
    ids = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little") for name in names]
    return priority(seed, np.array(ids, dtype=np.uint64))[code]


def _subsample(frame: pd.DataFrame, member: pd.DataFrame, limits: dict[str, int], seed: int) -> pd.DataFrame:
    """Keep at most ``limits[split]`` rows of each class, groups of least priority first."""
    unknown = set(limits) - set(SPLITS)
    if unknown:
        raise StreamError(f"data.init_args.max_images: '{min(unknown)}' is no split; use {', '.join(SPLITS)}.")
    if not limits or member.empty:
        return member
    rows = frame.loc[member.index]
    order = rows.assign(key=_group_priority(rows, seed)).sort_values(["key", "group", "path"], kind="stable")
    rank = order.groupby(["split", "label"]).cumcount()
    kept = order.index[rank < order["split"].map(limits).fillna(np.inf)]
    return member.loc[member.index.isin(kept)]
