"""What becomes of every class along a stream: present without a label, discovered, named, remembered or forgotten.

Tasks are numbered from 1; what holds "after task k" is seen from the test images as they were attributed then. Letter: N
images of one such attribution.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PURITY = 0.8
"""A cluster belongs to a class if more than this share of the test images in it are of that class."""

MOST = 0.5
"""A class has a cluster if more than this share of its test images are in it, and is remembered if at least this share is
attributed to it."""

State = Literal["held out", "unlabelled", "discovered", "named", "remembered", "forgotten"]


class Attribution(NamedTuple):
    """Where the test images of the classes that have arrived fall after a task.

    Attributes:
        true_N: Names of their classes.
        predicted_N: Their heads.
        class_ids: Head of every known class; all other heads are clusters.
    """

    true_N: NDArray[np.object_]
    predicted_N: NDArray[np.int64]
    class_ids: Mapping[str, int]


class Cluster(NamedTuple):
    """The cluster in which most images of a class fall.

    Attributes:
        head: Its id; of equally large ones the least.
        share: Share of the class's images in it, within (0, 1].
        purity: Share of the class among all images in it, within (0, 1].
    """

    head: int
    share: float
    purity: float

    @property
    def owned(self) -> bool:
        """Whether it is the class's own: it holds most of the class, and hardly anything else."""
        return self.share > MOST and self.purity > PURITY


class Life(NamedTuple):
    """The life of one class.

    Attributes:
        unlabelled: Task at which it first was there without a label and before it was named; None if it never was.
        discovered: First task after which it had a cluster of its own while it had no name; None if there is none.
        named: Task at which it was first labelled; None if it never was.
        states: State by task. ``held out`` and ``unlabelled``: without a name and without a cluster of its own, never or already
            in the training images; ``discovered``: with one; ``named``: just then; later ``remembered`` where at least half
            of its images are attributed to it, else ``forgotten``.
        values: By task, within [0, 1]: without a name, the share of its images in its largest cluster; with one, the share that is
            attributed to it.
        heads: By task, its own cluster, where it had one.
    """

    unlabelled: int | None
    discovered: int | None
    named: int | None
    states: dict[int, State]
    values: dict[int, float]
    heads: dict[int, int]

    @property
    def lag(self) -> float:
        """Tasks between its first unlabelled images and its discovery; NaN if it was never discovered."""
        if self.unlabelled is None or self.discovered is None:
            return float("nan")
        return float(self.discovered - self.unlabelled)

    @property
    def forgetting(self) -> float:
        """Share of its images attributed to it when it was named, minus that after the last task; NaN without a later one."""
        last = max(self.values)
        if self.named is None or self.named not in self.values or last == self.named:
            return float("nan")
        return self.values[self.named] - self.values[last]


def largest_clusters(
    true_N: NDArray[np.object_], predicted_N: NDArray[np.int64], known: Collection[int]
) -> dict[str, Cluster]:
    """Return for every class the cluster with most of its images; a class with all images in known heads has none.

    Args:
        true_N: Names of the classes.
        predicted_N: Heads.
        known: Heads of the known classes; all others are clusters.
    """
    count = pd.crosstab(true_N, predicted_N)
    free = count.loc[:, ~count.columns.isin(list(known))]
    free = free[free.sum(axis=1) > 0]
    head, most = free.idxmax(axis=1), free.max(axis=1)
    return {
        str(name): Cluster(
            int(head[name]),
            float(most[name] / count.loc[name].sum()),
            float(most[name] / free[head[name]].sum()),
        )
        for name in free.index
    }


def class_lives(attributions: Mapping[int, Attribution], unlabelled: Mapping[str, int]) -> dict[str, Life]:
    """Return the life of every class with test images: in order of first appearance, held-out classes last.

    Args:
        attributions: By the number of tasks trained, ascending; each holds the classes that have arrived by then.
        unlabelled: By class, the first task that has images of it without a label.
    """
    states: dict[str, dict[int, State]] = {}
    values: dict[str, dict[int, float]] = {}
    heads: dict[str, dict[int, int]] = {}
    named: dict[str, int] = {}
    for number, (true_N, predicted_N, class_ids) in attributions.items():
        clusters = largest_clusters(true_N, predicted_N, class_ids.values())
        for name in sorted(
            set(true_N), key=lambda name: (class_ids.get(name, len(class_ids)), unlabelled.get(name, 0), name)
        ):
            cluster, state = clusters.get(name), states.setdefault(name, {})
            value, head = values.setdefault(name, {}), heads.setdefault(name, {})
            if name in class_ids:
                value[number] = float((predicted_N[true_N == name] == class_ids[name]).mean())
                later: State = "remembered" if value[number] >= MOST else "forgotten"
                state[number] = later if named.setdefault(name, number) < number else "named"
                continue
            value[number] = cluster.share if cluster else 0.0
            if unlabelled.get(name, number + 1) > number:
                state[number] = "held out"
            elif cluster and cluster.owned:
                state[number], head[number] = "discovered", cluster.head
            else:
                state[number] = "unlabelled"
    lives = {}
    for name, state in sorted(states.items(), key=lambda life: life[0] not in {*named, *unlabelled}):
        first, label = unlabelled.get(name), named.get(name)
        before = first if first is not None and (label is None or first < label) else None
        lives[name] = Life(before, min(heads[name], default=None), label, state, values[name], heads[name])
    return lives


def match_rate(lives: Mapping[str, Life], matches: Mapping[str, int]) -> float:
    """Return the share of the classes named later whose name went to the cluster that they owned just before.

    A class named later is one that was there without a label before. One without a cluster of its own after the task before its
    naming counts as not matched. NaN if no class is named later.

    Args:
        lives: Lives of the classes.
        matches: By class, the head (as numbered after the task before) to which it was matched when it was named; a class that
            was matched to none is left out.
    """
    later = {name: life for name, life in lives.items() if life.named is not None and life.unlabelled is not None}
    if not later:
        return float("nan")
    owned = {name: life.heads.get(life.named - 1) for name, life in later.items() if life.named is not None}
    hits = [head is not None and matches.get(name) == head for name, head in owned.items()]
    return sum(hits) / len(hits)
