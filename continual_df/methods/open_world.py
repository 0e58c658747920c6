"""What methods that attribute images share: heads for known and for unknown methods, labelled and unlabelled rows."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from continual_df.data.sampler import Source
from continual_df.errors import ConfigError
from continual_df.labels import ABSENT, REAL
from continual_df.losses.confident_labels import confident_labels
from continual_df.losses.margin_cross_entropy import adaptive_margin, margin_cross_entropy, uncertainty
from continual_df.losses.mean_entropy import known_prior, mean_entropy
from continual_df.methods.base import Method, Prediction
from continual_df.models.class_head import fake_against_real
from continual_df.models.detector import Features
from continual_df.models.global_local import GlobalLocalHead
from continual_df.models.merged_heads import merge_heads
from continual_df.ranks import rows_of_all
from continual_df.task import Batch, Extract, Role, Rows, Task


class Views(NamedTuple):
    """A batch as the terms of open-world methods see it: the rows of all processes.

    Attributes:
        logit_BK: Logits of class ids, then of novel heads.
        other_BK: Those of the second view; ``logit_BK`` again where the method asks for one view.
        global_BD: Features of whole images.
        second_BD: Those of the second view, or ``global_BD`` again.
        local_BPD: Features of P places of each image; no gradient reaches them.
        map_BDHW: Last feature map of the detector, in its own layout; without gradient.
        class_B: Class id, -1 where there is no label.
        sample_B: Row of the frame table.
        group_B: Number of the group that it belongs to.
    """

    logit_BK: Tensor
    other_BK: Tensor
    global_BD: Tensor
    second_BD: Tensor
    local_BPD: Tensor
    map_BDHW: Tensor
    class_B: Tensor
    sample_B: Tensor
    group_B: Tensor

    @property
    def labelled_B(self) -> Tensor:
        """Which rows have a label."""
        return self.class_B >= 0


class OpenWorld(Method):
    """A softmax over the known classes and ``novel`` heads that no label is tied to.

    ``loss = supervised CE(labelled rows, margin) + what a subclass adds + regulariser KL(mean_i p_i || prior)``. A batch holds
    ``batch_size`` labelled rows, equally many of each class, and ``unlabelled_per_batch`` others; an epoch is one pass over the
    labelled ones. P(fake) is that of all classes but real. With 0 for ``unlabelled_per_batch``, ``margin`` and ``regulariser`` it is
    the lower bound of the methods that are made from it. With
    unlabelled rows that carry labels after all (``reveal_unlabelled`` of the stream) it is the upper bound: they are
    labelled rows like others, and ``novel`` heads must be at least as many as there are novel classes.

    Sun et al., 2023, arXiv:2309.11132 (batches, head, margin and regulariser of CPL). Differs from its code: an epoch is a pass over
    labelled rows, not over all; the last, short batch is trained on.

    Args:
        novel: Heads beyond those of known classes.
        unlabelled_per_batch: Rows without a label in each batch; None: as many as labelled ones, 0: none.
        patches: P of the P x P places of the local branch.
        dropout: Before the classifier.
        scale: Logits are ``scale`` times cosines; None: plain inner products.
        supervised: Weight of the cross-entropy.
        margin: What is added to the true logit of a labelled row; ``adaptive``: ``min(u, .5)`` with u the mean of ``1 - max p``
            over the unlabelled rows of the last epoch (ORCA, Cao et al., 2022, arXiv:2102.03526). In units of the scale, where
            there is one.
        two_views: Look at two views of each image, the second one made by ``second_view`` of the stream.
        both_views: Whether the cross-entropy and the regulariser look at both views, where there are two, not at the first alone.
        regulariser: Weight of the regulariser.
        novel_share: Share of unlabelled images that are of unknown methods, where it is known: the prior is then that of
            `known_prior`; None: a uniform one.
        merge_from: First epoch, from 0, at whose end novel heads that the epoch's unlabelled rows hardly use are merged into others
            (`merge_heads`), where ``novel`` is more than there can be; None: they stay. The heads that are given up are closed
            until the next task, whose unknown methods may need them: they begin it anew.
        self_labelled: Where a task names no new class (the last one, visited again), share of the unlabelled images of each head
            that come with that head as their label, the surest ones (`confident_labels`): the last stage of CPL's multi-stage
            training. ``pseudo_labels.json`` of the task says which.
        **kwargs: Those of `Method`.
    """

    head: GlobalLocalHead
    has_real: Tensor
    unsure_2: Tensor
    unsure: Tensor
    open_K: Tensor
    used_K: Tensor

    def __init__(
        self,
        *,
        novel: int,
        unlabelled_per_batch: int | None = None,
        patches: int = 3,
        dropout: float = 0.2,
        scale: float | None = None,
        supervised: float = 1.0,
        margin: float | Literal["adaptive"] = 0.2,
        two_views: bool = False,
        both_views: bool = False,
        regulariser: float = 1.0,
        novel_share: float | None = None,
        merge_from: int | None = None,
        self_labelled: float = 0.0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self.patches, self.dropout, self.scale = patches, dropout, scale
        super().__init__(**kwargs)
        if novel < 0:
            raise ValueError(f"novel must be at least 0, got {novel}")
        if not 0 <= self_labelled <= 1:
            raise ValueError(f"self_labelled is a share, from 0 to 1, got {self_labelled}")
        if self_labelled and novel_share is not None:
            raise ValueError(
                "self_labelled gives novel heads labels, which the prior of novel_share does not count: set one"
            )
        self.novel, self.margin, self.supervised = novel, margin, supervised
        self.self_labelled = self_labelled
        self.chosen = Rows.empty()  # unlabelled rows that have a head as their label in this task
        self.views, self.both_views = 2 if two_views else 1, both_views
        self.unlabelled_per_batch = self.batch_size if unlabelled_per_batch is None else unlabelled_per_batch
        self.regulariser, self.novel_share, self.merge_from = regulariser, novel_share, merge_from
        self.register_buffer("open_K", torch.ones(0, dtype=torch.bool))  # heads that have not been merged into others
        self.register_buffer("used_K", torch.zeros(0))  # this epoch's unlabelled rows by top head
        self.num_known = self.num_new = 0
        self.prior_K: Tensor | None = None
        self.register_buffer("has_real", torch.tensor(True))
        self.register_buffer("unsure_2", torch.zeros(2))  # sum and number of this epoch's unlabelled rows
        self.register_buffer("unsure", torch.ones(()))  # their mean in the last epoch
        self.val_known = MeanMetric()

    def make_head(self) -> GlobalLocalHead:
        """Return the two branches; each task says how many heads there are."""
        detector = self.detector
        return GlobalLocalHead(
            detector.num_features, 0, self.patches, self.dropout, self.scale, num_channels=detector.num_channels
        )

    def begin_task(self, task: Task) -> None:
        """Have a head for each known class and ``novel`` more; those of new classes and in place of merged ones are new.

        The heads of new classes come before the novel ones.
        """
        super().begin_task(task)
        self.chosen = Rows.empty()
        heads, known = self.head.classifier, self.num_known
        self.num_known = max(task.class_ids.values()) + 1
        merged_N = ~self.open_K[known:]
        fresh = int(merged_N.sum())
        self.head.grow(self.num_known + self.novel - heads.num_heads + fresh)
        if known:
            sizes = [known, self.novel, self.num_known - known, fresh]
            old_KD, novel_ND, new_KD, fresh_MD = torch.split(heads.weight_KD.detach(), sizes)
            novel_ND[merged_N] = fresh_MD
            heads.set_weights(torch.cat([old_KD, new_KD, novel_ND]))
        self.open_K = torch.ones(heads.num_heads, dtype=torch.bool, device=self.open_K.device)
        self.used_K = torch.zeros(heads.num_heads, device=self.used_K.device)
        self.num_new = self.num_known - known

    def meet_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Give the surest unlabelled images of each head that head as their label, where the task names no new class."""
        unlabelled = self._without_label()
        if self.self_labelled and not self.num_new and unlabelled.num:
            logit_NK = extract(unlabelled, ("method_logits",))["method_logits"]
            head_N = confident_labels(logit_NK, self.self_labelled)
            chosen = unlabelled.pick(head_N >= 0)
            head_M = head_N[head_N >= 0]
            self.chosen = chosen._replace(method=head_M, label=(head_M != REAL).long())

    def _without_label(self) -> Rows:
        """Return the task's rows whose label is not revealed."""
        unlabelled = self.unlabelled[-1] if self.unlabelled else Rows.empty()
        return unlabelled.pick(unlabelled.method < 0)

    def batch_plan(self, task: Task, seen: list[Rows]) -> list[Source]:
        """Return labelled rows, equally many of each class, and unlabelled ones."""
        given = self.unlabelled[-1] if self.unlabelled else Rows.empty()
        labelled = Rows.concat([seen[-1], given.pick(given.method >= 0), self.chosen])
        unlabelled = self._without_label()
        unlabelled = unlabelled.pick(~torch.isin(unlabelled.sample, self.chosen.sample))
        plan = [Source(labelled, self.batch_size, "method")]
        if unlabelled.num and self.unlabelled_per_batch:
            plan.append(Source(unlabelled, self.unlabelled_per_batch, role=Role.UNLABELLED))
        plan += self.remembered(Rows.concat([labelled, unlabelled]))
        self.has_real.fill_(any(bool((source.rows.method == REAL).any()) for source in plan))
        self.prior_K = None if self.novel_share is None else self._prior(plan, self.novel_share)
        return plan

    def remembered(self, current: Rows) -> list[Source]:
        """Return the sources of what is remembered beside the task's own rows; none by default."""
        return []

    def _prior(self, plan: list[Source], novel_share: float) -> Tensor:
        """Return the share of each head in a batch, as far as labels tell; 0 for a class that no image has."""
        if all(source.role != Role.UNLABELLED for source in plan):
            raise ConfigError(
                f"model.init_args.novel_share is {novel_share}, but the task has no unlabelled images, or unlabelled_per_batch is "
                "0: remove novel_share, or name unlabelled methods (or a share of labels) in data.init_args.tasks."
            )
        labelled = [source for source in plan if source.role != Role.UNLABELLED]
        count_SC = torch.stack([source.rows.method.bincount(minlength=self.num_known) for source in labelled])
        present_SC = (count_SC > 0).double()  # a batch holds equally many rows of each class of a source
        num_rows = sum(source.per_batch for source in plan)
        share_S = torch.tensor([source.per_batch / num_rows for source in labelled], dtype=torch.float64)
        labelled_C = share_S @ (present_SC / present_SC.sum(dim=1, keepdim=True))
        return known_prior(labelled_C, count_SC.sum(dim=0), self.novel, novel_share)

    def _prior_now(self) -> Tensor:
        """Return the prior of the open heads, which share what novel methods have; 1 for heads that no image can have."""
        if self.prior_K is None:
            possible_K = self._possible_K()
            return torch.where(possible_K, 1 / possible_K.sum(), 1.0)
        prior_K = self.prior_K.to(self.open_K.device)
        open_N = self.open_K[self.num_known :]
        novel_N = prior_K[self.num_known :].sum() / open_N.sum() * open_N
        prior_K = torch.cat([prior_K[: self.num_known], novel_N])
        return prior_K.where(prior_K > 0, 1.0)

    def forward(self, image: Tensor) -> Prediction:
        """Return what the global branch says of ``image``."""
        global_BD = self.head.neck(self.detector(image).pooled_BD)
        logit_BK = self._possible(self.head.classifier(self.head.dropout(global_BD)))
        return Prediction(fake_against_real(logit_BK), logit_BK, global_BD)

    def decision_directions(self) -> Tensor:
        """Return (H, D): for each known fake class its weights minus those of real."""
        weight_KD = self.head.classifier.weight_KD.detach()
        return weight_KD[1 : self.num_known] - weight_KD[:1]

    def _possible(self, logit_BK: Tensor) -> Tensor:
        """Return the logits, `ABSENT` for heads that were merged into others, and for reals where the stream has none."""
        return logit_BK.masked_fill(~self._possible_K(), ABSENT)

    def _possible_K(self) -> Tensor:
        """Return which heads an image can have."""
        real_K = torch.arange(len(self.open_K), device=self.open_K.device) == REAL
        return self.open_K & ~(real_K & ~self.has_real)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the supervised term, those of the method, and the regulariser."""
        image = batch["image"]
        if self.views == 2:
            if "second" not in batch:
                raise ConfigError(
                    f"{type(self).__name__} compares two views of each image: name the transforms of the second one in "
                    "data.init_args.second_view."
                )
            image = torch.cat([image, batch["second"]])
        features = self.detector(image)
        views = self._gather(features, batch)
        terms = {"supervised": self.supervised * self._supervised(views), **self.open_terms(views)}
        if self.regulariser:
            weight = 0.0 if self.labels_alone else self.regulariser
            terms["regulariser"] = weight * mean_entropy(self._told(views)[0], self._prior_now())
        own = Features(*(feature[: len(batch["label"])] for feature in features))
        return {**terms, **self.kept_terms(own, batch), **self.detector.auxiliary_loss(own, batch)}

    def _supervised(self, views: Views) -> Tensor:
        """Return the mean cross-entropy of labelled rows, and take in how unsure the others are."""
        labelled_B = views.labelled_B
        unlabelled_UK = views.logit_BK[~labelled_B]
        if len(unlabelled_UK) and not self.labels_alone:
            self.unsure_2 += torch.stack([uncertainty(unlabelled_UK), torch.ones_like(self.unsure)])
            self.used_K += unlabelled_UK.argmax(dim=1).bincount(minlength=len(self.used_K))
        margin = adaptive_margin(float(self.unsure)) if self.margin == "adaptive" else self.margin
        logit_NK, class_N = self._told(views)
        labelled_N = class_N >= 0
        loss_L = margin_cross_entropy(logit_NK[labelled_N], class_N[labelled_N], margin, self.scale or 1.0)
        return loss_L.sum() / max(len(loss_L), 1)

    def _told(self, views: Views) -> tuple[Tensor, Tensor]:
        """Return the logits that the cross-entropy and the regulariser look at, and their classes."""
        if self.both_views:
            return torch.cat([views.logit_BK, views.other_BK]), views.class_B.repeat(2)
        return views.logit_BK, views.class_B

    def on_train_epoch_end(self) -> None:
        """Set how unsure the epoch was, and merge heads of little use."""
        if self.unsure_2[1] > 0:
            self.unsure.copy_(self.unsure_2[0] / self.unsure_2[1])
            if self.merge_from is not None and self.current_epoch >= self.merge_from:
                self._merge()
        self.unsure_2.zero_()
        self.used_K.zero_()

    def _merge(self) -> None:
        """Merge novel heads of little use into others."""
        heads, place_A = self.head.classifier, self.open_K.nonzero()[:, 0]
        merged = merge_heads(heads.weight_KD[place_A], self.used_K[place_A], self.num_known)
        weight_KD = heads.weight_KD.detach().clone()
        weight_KD[place_A[merged.keep_K]] = merged.weight_MD
        heads.set_weights(weight_KD)
        self.open_K[place_A[~merged.keep_K]] = False

    def _gather(self, features: Features, batch: Batch) -> Views:
        """Return the rows of all processes that count; the head sees them all, so that its batch statistics are theirs."""
        kept_B = batch["weight"] > 0
        maps = [rows_of_all(part[kept_B].detach()) for part in features.map_BDHW.chunk(self.views)]
        pooled = [rows_of_all(part[kept_B]) for part in features.pooled_BD.chunk(self.views)]
        out = self.head(Features(torch.cat(maps), torch.cat(pooled)))
        logits, wholes = self._possible(out.logit_BK).chunk(self.views), out.global_BD.chunk(self.views)
        class_B, sample_B, group_B = (
            rows_of_all(column[kept_B]) for column in (batch["method"], batch["sample"], batch["group"])
        )
        local_BPD = out.local_BPD[: len(class_B)]
        return Views(logits[0], logits[-1], wholes[0], wholes[-1], local_BPD, maps[0], class_B, sample_B, group_B)

    @property
    def labels_alone(self) -> bool:
        """Whether unlabelled rows teach nothing in this epoch; a subclass may begin so."""
        return False

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return what a method learns by beside labels, each weighted; nothing by default."""
        return {}

    def kept_terms(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        """Return what a method does against forgetting, from the features of this process's rows; nothing by default."""
        return {}

    def notes(self) -> dict[str, Any]:
        """Return the images that had a head as their label, and which."""
        if not self.chosen.num:
            return {}
        return {"pseudo_labels.json": {"sample": self.chosen.sample.tolist(), "head": self.chosen.method.tolist()}}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the labels that the method gave, for the checkpoint."""
        return {"chosen": torch.stack(self.chosen)}

    def set_extra_state(self, state: Any) -> None:  # noqa: ANN401
        """Take the labels from a checkpoint."""
        self.chosen = Rows(*state["chosen"].unbind())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the share of validation images whose class is found; labels of known classes alone are there."""
        prediction = self.collect(batch)
        assert prediction.method_logits is not None
        right_B = prediction.method_logits.argmax(dim=1) == batch["method"]
        self.val_known.update(right_B.float(), batch["weight"])
        self.log("val/known_acc", self.val_known, prog_bar=True)
