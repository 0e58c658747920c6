"""Attribution along a stream: methods appear without a name, are discovered, get one later, and are not to be forgotten."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from continual_df.data.sampler import Source
from continual_df.losses.feature_distillation import feature_distillation
from continual_df.losses.isolation import IsolationLoss
from continual_df.losses.part_mean import part_mean
from continual_df.memory import ReplayMemory
from continual_df.methods.base import Prediction
from continual_df.methods.cpl import CPL
from continual_df.methods.open_world import Views
from continual_df.models.detector import Features
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.prototypes import PrototypeBank
from continual_df.task import Batch, Extract, Role, Rows, Task

FIRST_CLUSTER = -2
"""Class of the prototype of novel head 0 in the bank; that of head n is n less. -1 is the class of no prototype."""


class OpenWorldStream(CPL):
    """CPL's pairs and pseudo-labels on what is new, and SUR-LID's replay, isolation and distillation on what is known.

    ``loss = that of CPL on labelled, remembered and unlabelled rows + isolation SupCon(classes of labelled and remembered rows) +
    feature |f - f_teacher|^2 / D (remembered rows)``; the teacher is the detector as the last task left it (Cheng et al., 2025,
    arXiv:2411.11396; Sun et al., 2023, arXiv:2309.11132). What no published system has:

    - ``memory`` remembers labelled images, ``unknown`` unlabelled ones, which come back without a label;
    - after a task the bank has a prototype for each known class and for each novel head in which at least ``least`` unlabelled
      images are, the mean of their features of unit length; those that were there before keep their ids and move with ``momentum``;
    - when a class is named, its images are looked up in the bank before the task is trained. If most of them are nearest to one
      cluster, the class takes over its head and its prototype, and the novel head begins anew. ``matches`` says which;
    - the novelty of an image is measured from the prototypes of known classes, by validation images of the last task and remembered
      images of earlier ones: of those, nothing but the memory is there. They are training images, nearer to their prototypes
      than others, so that new images of old classes look more novel than they should.

    Args:
        memory: Replay memory of labelled images.
        unknown: Replay memory of unlabelled images; None: they are seen in their task only.
        replay_per_batch: Rows of ``memory`` in each batch, equally many of each class, and as many of ``unknown``.
        isolation: Weight of the isolation of classes.
        feature: Weight of the feature distillation.
        temperature: Of the isolation loss.
        least: Unlabelled images that make a cluster.
        momentum: What an older prototype keeps of itself after a task, in [0, 1].
        **kwargs: Those of `CPL`.
    """

    teacher: FrozenCopy | None

    def __init__(
        self,
        *,
        memory: ReplayMemory,
        unknown: ReplayMemory | None = None,
        replay_per_batch: int = 16,
        isolation: float = 0.5,
        feature: float = 1.0,
        temperature: float = 0.1,
        least: int = 10,
        momentum: float = 0.5,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if replay_per_batch < 1:
            raise ValueError(f"replay_per_batch must be at least 1, got {replay_per_batch}")
        self.memory, self.unknown, self.replay_per_batch = memory, unknown, replay_per_batch
        self.isolation, self.feature, self.least, self.momentum = isolation, feature, least, momentum
        self.isolation_loss = IsolationLoss(temperature)
        self.bank = PrototypeBank(self.detector.num_features)
        self.teacher = None
        self.num_old = 0
        self.matches: dict[str, int] = {}

    def begin_task(self, task: Task) -> None:
        """Freeze what has been learnt as the teacher, and add heads."""
        if task.index > 0:
            self.teacher = FrozenCopy(self.detector)
        self.num_old = self.num_known
        super().begin_task(task)

    def meet_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Look the classes that are named now up in the bank; those that are found there take over their cluster's head."""
        super().meet_task(task, rows, extract)
        if not self.num_old:
            return
        for name in task.methods:
            own_N = rows.method == task.class_ids[name]
            if task.class_ids[name] < self.num_old or not own_N.any():
                continue
            feature_ND = extract(rows.pick(own_N), ("features",))["features"]
            near_N = self.bank.classes(self.bank.search(feature_ND)[1][:, 0])
            classes, count = near_N.unique(return_counts=True)  # type: ignore[no-untyped-call]
            nearest = int(classes[count.argmax()])
            if nearest <= FIRST_CLUSTER and 2 * int(count.max()) > len(near_N):
                self._name(name, task.class_ids[name], FIRST_CLUSTER - nearest)

    def _name(self, name: str, class_id: int, number: int) -> None:
        """Give the cluster of novel head ``number`` to the class."""
        self.matches[name] = self.num_old + number
        heads = self.head.classifier
        weight_KD = heads.weight_KD.detach().clone()
        weight_KD[[class_id, self.num_known + number]] = weight_KD[[self.num_known + number, class_id]]
        heads.set_weights(weight_KD)
        cluster = FIRST_CLUSTER - number
        self.bank.relabel(self.bank.id_K[self.bank.class_K == cluster], class_id)

    def remembered(self, current: Rows) -> list[Source]:
        """Return remembered rows of both kinds, labelled ones first; unlabelled ones that the task has itself come from it alone."""
        plan = []
        if self.memory.rows.num:
            plan.append(Source(self.memory.rows, self.replay_per_batch, "method", Role.REPLAY))
        if self.unknown is not None:
            unknown = self.unknown.rows.pick(~torch.isin(self.unknown.rows.sample, current.sample))
            if unknown.num:
                plan.append(Source(unknown, self.replay_per_batch, "task", Role.UNLABELLED))
        return plan

    def forward(self, image: Tensor) -> Prediction:
        """Return what the global branch says of ``image``, and, once there is a bank, how novel it is."""
        prediction = super().forward(image)
        if not self.bank.calibration.calibrated:
            return prediction
        known = torch.arange(self.num_known)
        return prediction._replace(novelty=self.bank.novelty(prediction.features, known))

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return CPL's terms, and the isolation of classes."""
        labelled_B = views.labelled_B
        isolation = self.isolation_loss(views.global_BD[labelled_B], views.class_B[labelled_B])
        return {**super().open_terms(views), "isolation": self.isolation * isolation}

    def kept_terms(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return the distance of remembered rows' features to the teacher's."""
        if self.teacher is None or not self.feature:
            return {}
        replayed_B = (batch["role"] == Role.REPLAY) & (batch["weight"] > 0)
        teacher_RD = self.teacher(batch["image"][replayed_B]).pooled_BD
        distance_R = feature_distillation(features.pooled_BD[replayed_B], teacher_RD)
        return {"feature": self.feature * part_mean(distance_R, batch["weight"])}

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Remember images of both kinds, and bring the bank to what the detector sees now."""
        super().end_task(task, rows, extract)
        self.memory.update(rows, extract)
        new = rows.pick(~torch.isin(rows.sample, self.memory.rows.sample))
        known = Rows.concat([self.memory.rows, new])
        if known.num:
            self._move(known.method, extract(known, ("features",))["features"], torch.isin(known.sample, rows.sample))
        unlabelled = self._without_label()
        old = Rows.empty()
        if self.unknown is not None:
            self.unknown.update(unlabelled, extract)
            old = self.unknown.rows.pick(~torch.isin(self.unknown.rows.sample, unlabelled.sample))
        self._move_clusters(old, unlabelled, extract)
        self._calibrate(task, extract)

    def _move_clusters(self, old: Rows, new: Rows, extract: Extract) -> None:
        """Have a prototype for each novel head in which enough images are, and for no other."""
        cluster_N, feature_ND = torch.empty(0, dtype=torch.long), torch.empty(0, self.detector.num_features)
        new_N, unlabelled = torch.empty(0, dtype=torch.bool), Rows.concat([old, new])
        if unlabelled.num:
            said = extract(unlabelled, ("method_logits", "features"))
            number_N = said["method_logits"].argmax(dim=1) - self.num_known
            large_N = number_N >= 0
            count_K = number_N[large_N].bincount(minlength=self.novel)
            large_N[large_N.clone()] = count_K[number_N[large_N]] >= self.least
            cluster_N, feature_ND = FIRST_CLUSTER - number_N[large_N], said["features"][large_N]
            new_N = (torch.arange(unlabelled.num) >= old.num)[large_N]
        class_K = self.bank.class_K
        gone_K = (class_K <= FIRST_CLUSTER) & ~torch.isin(class_K, cluster_N.to(class_K))
        self.bank.remove(self.bank.id_K[gone_K])
        self._move(cluster_N, feature_ND, new_N)

    def _move(self, class_N: Tensor, feature_ND: Tensor, new_N: Tensor) -> None:
        """Move each class's prototype towards the mean of its features, or add one; it stands for more images by the new ones."""
        for class_id in class_N.unique().tolist():  # type: ignore[no-untyped-call]
            own_N = class_N == class_id
            own_ND = F.normalize(feature_ND[own_N], dim=1)
            there = self.bank.id_K[self.bank.class_K == class_id]
            if len(there):
                self.bank.move(int(there[0]), own_ND.mean(dim=0), self.momentum, int(new_N[own_N].sum()))
            else:
                self.bank.add(own_ND.mean(dim=0, keepdim=True), torch.tensor([class_id]), torch.tensor([len(own_ND)]))

    def _calibrate(self, task: Task, extract: Extract) -> None:
        """Measure novelty by the task's validation images, and what is remembered of earlier tasks."""
        remembered = self.memory.rows.pick(self.memory.rows.task < task.index)
        rows = Rows.concat([*self.validation[-1:], remembered])
        if rows.num:
            feature_ND = extract(rows, ("features",))["features"]
            similarity_N1, _ = self.bank.search(feature_ND, 1, torch.arange(self.num_known))
            self.bank.calibration.calibrate(similarity_N1[:, 0])

    def notes(self) -> dict[str, Any]:
        """Return the classes named so far -> head, as numbered before, of the cluster that each was found to be."""
        return {**super().notes(), "matches.json": self.matches}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the matches for the checkpoint, too."""
        return {**super().get_extra_state(), "matches": dict(self.matches)}

    def set_extra_state(self, state: Any) -> None:  # noqa: ANN401
        """Take the matches from a checkpoint, too."""
        super().set_extra_state(state)
        self.matches = dict(state["matches"])
