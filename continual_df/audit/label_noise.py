"""Labels that a detector which never trained on them contradicts with confidence.

A list to look through, not a verdict: where the detector is often wrong, most of it are the detector's own mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from continual_df.audit.confident_learning import confident_disagreements
from continual_df.audit.probe import out_of_fold
from continual_df.audit.subject import Subject

FEATURE_STRENGTH = 0.003
"""Inverse regularisation of the probes on features, of which there are as many as rows."""


@dataclass(frozen=True)
class LabelNoise:
    """Contradicted labels of one kind of rows.

    Attributes:
        evidence: What contradicts them.
        rows: Columns ``sample, path, label, method, source, split, prob_fake, margin``, the least believable first.
        num_checked: By method, how many rows were looked at.
        notes: What was left out.
    """

    evidence: str
    rows: pd.DataFrame
    num_checked: dict[str, int]
    notes: tuple[str, ...] = ()


def held_out_noise(subject: Subject) -> LabelNoise:
    """Return the contradicted labels of the validation and test rows, by the predictions that the run has stored.

    A row is judged by the predictions after the last of its tasks: later ones have forgotten, and contradict labels
    for that reason. Rows of no task are judged by the last predictions.

    Raises:
        ValueError: If the subject is no run.
        RunFolderError: If a file of predictions is broken.
    """
    files = subject.files
    if files is None:
        raise ValueError("label noise of held-out rows needs a run, got a table")
    held = subject.members[subject.members["split"].isin(("val", "test"))]
    last = held.groupby("sample")["task"].max()
    measured = max(files.predictions)
    after = np.where(last >= 0, last + 1, measured)
    learnt = after <= measured
    logit_N = np.full(len(last), np.nan)
    for number in np.unique(after[learnt]):
        # a folder may lack the predictions of a task in the middle
        if int(number) in files.predictions:
            here = after == number
            logit_N[here] = files.logits(int(number))[last.index[here]]
    notes = []
    if not learnt.all():
        notes.append(f"{int((~learnt).sum())} rows of tasks that are not learnt yet")
    silent = learnt & np.isnan(logit_N)
    if silent.any():
        notes.append(f"{int(silent.sum())} rows without a prediction")
    known = ~np.isnan(logit_N)
    sample = last.index.to_numpy(dtype=np.int64)[known]
    noise = _noise(subject, sample, expit(logit_N[known]), "predictions after the last task of each row")
    return LabelNoise(noise.evidence, noise.rows, noise.num_checked, tuple(notes))


def train_noise(
    subject: Subject, sample: NDArray[np.int64], feature_ND: NDArray[np.floating], seed: int = 0
) -> LabelNoise:
    """Return the contradicted labels of training rows, by linear probes on features.

    Each row is judged by a probe that was fitted to other groups of its own domain. The features must come from a
    network that has not been trained on the labels in question: a trained one has learnt the wrong ones by heart.

    Args:
        subject: Stream.
        sample: (N,) distinct training rows.
        feature_ND: Features of them.
        seed: Seed of the folds.
    """
    frame = subject.table.frame.loc[sample]
    label = frame["label"].to_numpy(dtype=np.int64)
    source, group = (frame[name].to_numpy(dtype=object) for name in ("source", "group"))
    logit_N = np.full(len(sample), np.nan)
    notes = []
    for name in dict.fromkeys(source.tolist()):
        here = source == name
        score = out_of_fold(feature_ND[here], label[here], group[here], seed, strength=FEATURE_STRENGTH)
        if score is None:
            notes.append(f"'{name}' has too few groups of one side for folds: {int(here.sum())} rows not checked")
        else:
            logit_N[here] = score
    known = ~np.isnan(logit_N)
    noise = _noise(
        subject, sample[known], expit(logit_N[known]), "probes of untrained features, fitted to other groups"
    )
    return LabelNoise(noise.evidence, noise.rows, noise.num_checked, tuple(notes))


def _noise(subject: Subject, sample: NDArray[np.int64], prob_fake: NDArray[np.float64], evidence: str) -> LabelNoise:
    frame = subject.table.frame.loc[sample]
    found = confident_disagreements(
        frame["label"].to_numpy(dtype=np.int64), np.stack([1 - prob_fake, prob_fake], axis=1)
    )
    split = subject.members.drop_duplicates("sample").set_index("sample")["split"]
    rows = frame[["path", "label", "method", "source"]].iloc[found.row].rename_axis("sample").reset_index()
    rows["split"] = split.loc[rows["sample"]].to_numpy()
    rows["prob_fake"], rows["margin"] = prob_fake[found.row], found.margin
    counts = frame["method"].value_counts(sort=False)
    return LabelNoise(evidence, rows, {str(method): int(count) for method, count in counts.items()})
