"""CPL: unlabelled images learn from the images that they look like, as a whole and in their parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from continual_df.losses.candidate_pool import CandidatePool
from continual_df.losses.multi_vote import multi_vote
from continual_df.losses.pair import pair_loss
from continual_df.losses.pseudo_label import PseudoLabeller, pseudo_label_loss
from continual_df.losses.pseudo_label_rules import PseudoLabel, pseudo_labeller
from continual_df.losses.reversing_confidence import reversing_confidence
from continual_df.losses.voting import VoteRule, global_local_vote
from continual_df.methods.open_world import OpenWorld, Views
from continual_df.models.feature_grid import feature_grid
from continual_df.models.haar import haar_high_bands
from continual_df.models.local_pool import LocalBranch
from continual_df.task import Extract, Pairs, Rows, Task


class CPL(OpenWorld):
    """Contrastive pseudo-learning: pairs that pass a vote of whole images and their parts, and pseudo-labels.

    The method adds to the loss of `OpenWorld`

    ``pair mean_i -log <p_i, p'_pos(i)> + pseudo mean_u pseudo-label(p'_u) + consistency mean_i w_i CE(q_i, p'_i)``

    with p' of the second view where there are two, else p again. A pseudo-label counts where the row's candidate passed the vote.
    Sun et al., 2023, arXiv:2309.11132 (the defaults).

    Its relatives are settings of it, in ``experiments/compare/open_world/``: ORCA (``vote: off``, no pseudo-labels, two views, an
    adaptive margin), NACH (``vote: nach``, ``pseudo_label: nach``), CAL (asymmetric thresholds and the consistency, no pairs).

    Args:
        vote: Which candidates pass (`global_local_vote`).
        scales: Places along each side of the maps that vote in place of the one of ``patches`` (MPSL, `multi_vote`): a candidate
            passes if one of them accepts it.
        bands: Whether the high Haar bands of the map vote, too: pairs then need both families, pseudo-labels one of them. Sun et
            al., 2025 (MPSL, IJCV 133(2)): scales 3, 5, 7 and bands.
        pool: Largest number of rows of earlier batches that are candidates, too (ours): the features of their first views as they
            were then, under the heads of now, without dropout. 0: an unlabelled row finds its partner in its batch. Not with
            ``scales``, ``bands`` or ``vote: nach``. A task's FLOPs are counted on its first step, which has no pool: 1 to 3 %
            too few with 1,024 rows and small detectors.
        across_groups: Whether the partner of an unlabelled row must be of another group (ours): pictures of one video, or
            forgeries of one photo, are alike whatever made them.
        pair: Weight of the pairs.
        pseudo_label: Which pseudo-labels (`pseudo_labeller`).
        pseudo: Weight of the pseudo-labels.
        pseudo_from: First epoch, from 0, of pseudo-labels.
        gated: Whether only rows whose candidate passed the vote have pseudo-labels.
        consistency: Weight of the consistency of two views, whose weights go from sure to unsure rows (`reversing_confidence`).
        consistency_epochs: Epochs in which they do so; after them, the weights stay.
        pretrain_epochs: Epochs of labels alone, before all that the class adds, the regulariser, and the merging of heads; of
            unlabelled rows only statistics are taken then, those of batch norm and of the thresholds of pseudo-labels.
        **kwargs: Those of `OpenWorld`.
    """

    labeller: PseudoLabeller

    def __init__(
        self,
        *,
        vote: VoteRule = "value",
        scales: list[int] | None = None,
        bands: bool = False,
        pool: int = 0,
        across_groups: bool = False,
        pair: float = 0.5,
        pseudo_label: PseudoLabel = "soft",
        pseudo: float = 0.5,
        pseudo_from: int = 0,
        gated: bool = True,
        consistency: float = 0.0,
        consistency_epochs: int = 50,
        pretrain_epochs: int = 0,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if consistency and self.views == 1:
            raise ValueError(f"consistency compares two views: set two_views, or consistency to 0 (got {consistency})")
        if consistency_epochs < 1:
            raise ValueError(f"consistency_epochs must be at least 1, got {consistency_epochs}")
        if (scales or bands) and vote not in ("value", "index"):
            raise ValueError(f"scales and bands vote by value or by index, got vote '{vote}'")
        if pool < 0:
            raise ValueError(f"pool must be at least 0, got {pool}")
        if pool and (scales or bands or vote == "nach"):
            raise ValueError(
                f"scales, bands and vote 'nach' vote within a batch: set pool to 0 (got {pool}), or leave them"
            )
        self.pool, self.across_groups = pool, across_groups
        self.earlier: CandidatePool | None = None  # in a task that is being trained
        channels = self.detector.num_channels
        self.scales = nn.ModuleList(LocalBranch(channels, patches) for patches in scales or [])
        self.bands = bands
        self.vote, self.pair, self.pseudo_label, self.pseudo = vote, pair, pseudo_label, pseudo
        self.pseudo_from, self.gated, self.consistency = pseudo_from, gated, consistency
        self.consistency_epochs, self.pretrain_epochs = consistency_epochs, pretrain_epochs

    def begin_task(self, task: Task) -> None:
        """Begin to label anew."""
        super().begin_task(task)
        self.labeller = pseudo_labeller(self.pseudo_label, self.num_known, self.head.classifier.num_heads)

    @property
    def labels_alone(self) -> bool:
        """Whether this is an epoch of pre-training."""
        return self.current_epoch < self.pretrain_epochs

    def open_terms(self, views: Views) -> dict[str, Tensor]:
        """Return the terms of pairs, pseudo-labels and consistency."""
        if self.earlier is not None:  # a checkpoint comes from the CPU
            self.earlier = self.earlier.to(views.global_BD.device)
        positive_B, accepted_B = self._vote(views)
        other_NK, sample_N = self._candidates(views)
        unlabelled_B = ~views.labelled_B
        partner_B = sample_N[positive_B]
        paired_B = positive_B != torch.arange(len(positive_B), device=positive_B.device)
        self.pairs = Pairs(*(column[unlabelled_B] for column in (views.sample_B, partner_B, paired_B)))
        if self.pool:
            now = CandidatePool(views.global_BD.detach(), views.local_BPD, self._unit_B(views), views.sample_B)
            self.earlier = now.before(self.earlier, self.pool)
        logit_UK, other_UK = views.logit_BK[unlabelled_B], views.other_BK[unlabelled_B]
        self.labeller.observe(logit_UK, other_UK)
        accepted_U = accepted_B[unlabelled_B] if self.gated else None
        pseudo_U = pseudo_label_loss(other_UK, self.labeller(logit_UK), accepted_U)
        begun = float(not self.labels_alone)
        labelling = begun * float(self.current_epoch >= self.pseudo_from)
        terms = {
            "pair": begun * self.pair * pair_loss(views.logit_BK, other_NK, positive_B).mean(),
            "pseudo": labelling * self.pseudo * pseudo_U.sum() / max(len(pseudo_U), 1),
        }
        if self.consistency:
            progress = min((self.current_epoch + 1) / self.consistency_epochs, 1.0)
            consistency_B = reversing_confidence(views.logit_BK, views.other_BK, progress)
            terms["consistency"] = begun * self.consistency * consistency_B.mean()
        return terms

    def _vote(self, views: Views) -> tuple[Tensor, Tensor]:
        """Return the row that each is paired with, and which rows may have a pseudo-label."""
        if self.vote not in ("value", "index") or not (self.scales or self.bands):
            return global_local_vote(
                views.global_BD,
                views.local_BPD,
                views.class_B,
                self.vote,
                unit_B=self._unit_B(views),
                pool=self.earlier,
            )
        scale_BPD = [scale(views.map_BDHW) for scale in self.scales] or [views.local_BPD]
        grid_BDHW = feature_grid(views.map_BDHW, self.detector.num_channels)
        band_BPD = [band.flatten(2).transpose(1, 2) for band in haar_high_bands(grid_BDHW)] if self.bands else []
        vote = multi_vote(views.global_BD, scale_BPD, band_BPD, views.class_B, self.vote, unit_B=self._unit_B(views))
        return vote.positive_B, vote.either_B

    def _candidates(self, views: Views) -> tuple[Tensor, Tensor]:
        """Return what the rows say that positives number, those of the batch and then of the pool, and their samples."""
        if self.earlier is None:
            return views.other_BK, views.sample_B
        pool_MK = self._possible(self.head.classifier(self.earlier.global_MD))
        return torch.cat([views.other_BK, pool_MK]), torch.cat([views.sample_B, self.earlier.sample_M])

    def _unit_B(self, views: Views) -> Tensor:
        """Return what each row belongs to: an unlabelled row has no partner in its own unit."""
        return views.group_B if self.across_groups else views.sample_B

    def on_train_epoch_end(self) -> None:
        """Let the labeller end its epoch, too."""
        super().on_train_epoch_end()
        self.labeller.end_epoch()

    def end_task(self, task: Task, rows: Rows, extract: Extract) -> None:
        """Empty the pool."""
        super().end_task(task, rows, extract)
        self.earlier = None

    def get_extra_state(self) -> dict[str, Any]:
        """Return the pool for the checkpoint, too."""
        earlier = {} if self.earlier is None else self.earlier._asdict()
        return {**super().get_extra_state(), **earlier}

    def set_extra_state(self, state: Any) -> None:  # noqa: ANN401
        """Take the pool from a checkpoint, too."""
        super().set_extra_state(state)
        self.earlier = None
        if "global_MD" in state:
            self.earlier = CandidatePool(*(state[name] for name in CandidatePool._fields))
