"""The open-world part of a run's results: how known classes are attributed and novel ones grouped, after each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continual_df.evaluation import novelty
from continual_df.evaluation.discovery import Attribution, Life, class_lives, match_rate
from continual_df.evaluation.image_sets import is_control
from continual_df.evaluation.metrics import auc
from continual_df.evaluation.open_world import attribution_scores, matched_confusion
from continual_df.evaluation.run_files import RunFiles
from continual_df.labels import ABSENT, REAL

SMALL = 0.01
"""Heads with a smaller share of the test images than this do not count in ``num_used_1pct``."""


def open_world_results(files: RunFiles) -> dict[str, Any] | None:
    """Return scores by row, and the life of every class, of a run that meets classes without a name.

    After task k a class is known if task k or one before named it; it is novel if it has come without a label by then, or if it is
    held out. Looked at are the test images of these classes that have a prediction; controls are left out. An image falls in
    the head with the largest logit. The novelty score is the method's own where it predicts one, else
    `novelty.softmax_novelty` over the heads of the known classes.

    Returns:
        ``rows``: for each task trained, ``row``; ``num_images``, ``num_missing`` (without a prediction), ``num_later`` (of
        classes that have not come yet); ``novelty_score`` (``own`` or ``softmax``); ``scores``, those of `attribution_scores`
        with ``auroc``, ``fpr95`` and ``oscr`` of the novelty, and ``novel_auc``, the real/fake AUC of fakes of novel classes; ``by_source``, the same for each source with at least two classes;
        ``num_classes`` with test images; ``num_heads`` that are open, ``num_used`` (heads in which an image falls), ``num_used_1pct`` (at least
        1 % of the images); ``known_heads``, the names of the first heads; ``head_order`` (see `Confusion`); and ``classes``: for
        each, known ones first, ``name``, ``id``, ``known``, ``num_images``, ``accuracy`` (share in the head of its id; NaN for
        novel ones), ``head`` in which most of its images fall, their ``share``, ``match`` (the head matched to it, or None),
        and ``heads`` with the number of images in each.
        ``lives``: by class what `Life` holds, and ``summary``: how many classes came unlabelled (``num_unlabelled``) and were
        discovered (``num_discovered``), the mean ``lag`` of those, the mean ``forgetting`` of attribution, and the ``match_rate``.
        None if the stream has no class that is novel at any time, or no predictions after a task hold logits of heads.

    Raises:
        RunFolderError: If the predictions are broken.
    """
    if not novel_classes(files, len(files.tasks)):
        return None
    first = _first_unlabelled(files)
    rows, attributions = [], {}
    for number in files.predictions:
        if number == 0:  # nothing has a name yet
            continue
        found = _row(files, number)
        if found is not None:
            row, attributions[number] = found
            rows.append(row)
    if not rows:
        return None
    lives = class_lives({k: a for k, a in attributions.items() if len(a.true_N)}, first)
    return {
        "rows": rows,
        "lives": {name: _describe(life) for name, life in lives.items()},
        "summary": {
            "num_unlabelled": sum(life.unlabelled is not None for life in lives.values()),
            "num_discovered": sum(life.discovered is not None for life in lives.values()),
            "lag": _mean([life.lag for life in lives.values()]),
            "forgetting": _mean([life.forgetting for life in lives.values()]),
            "match_rate": match_rate(lives, files.matches),
        },
    }


class AttributedImages(NamedTuple):
    """The test images on which attribution is looked at after some task.

    Attributes:
        sample_N: Rows of the frame table, ascending.
        true_N: Ids of their classes.
        ids: Id of each class: known ones as the task has them, then the novel ones.
        class_ids: Those of the known classes.
        num_later: Test images of classes that have not come yet.
    """

    sample_N: NDArray[np.int64]
    true_N: NDArray[np.int64]
    ids: dict[str, int]
    class_ids: dict[str, int]
    num_later: int


def novel_classes(files: RunFiles, number: int) -> list[str]:
    """Return the classes that have come without a label by task ``number``, in that order, then those held out; no controls."""
    first = _first_unlabelled(files)
    held_out = [name for name in files.stream.get("held_out", []) if name not in first]
    order = [*sorted(first, key=lambda name: first[name]), *held_out]
    return [name for name in order if not is_control(name) and first.get(name, number) <= number]


def attributed_images(files: RunFiles, number: int) -> AttributedImages:
    """Return the test images of the classes that are known or novel after task ``number``, from 1."""
    class_ids: dict[str, int] = files.tasks[number - 1]["class_ids"]
    novel = [name for name in novel_classes(files, number) if name not in class_ids]
    ids = {**class_ids, **{name: len(class_ids) + i for i, name in enumerate(novel)}}
    names = files.classes
    tests = np.unique(files.membership.loc[files.membership["split"] == "test", "sample"].to_numpy(dtype=np.int64))
    tests = tests[~names.iloc[tests].map(is_control).to_numpy(dtype=bool)]
    present = tests[names.iloc[tests].isin(ids).to_numpy()]
    true_N = names.iloc[present].map(ids).to_numpy(dtype=np.int64)
    return AttributedImages(present, true_N, ids, class_ids, len(tests) - len(present))


def attributed_heads(files: RunFiles, number: int) -> pd.DataFrame:
    """Return ``class`` and ``head`` of the images of `attributed_images`, by sample; no rows where the method attributes nothing."""
    heads = files.head_logits(number)
    if heads is None:
        return pd.DataFrame({"class": [], "head": []})
    head = pd.Series(heads.logit_MK.argmax(axis=1), index=heads.sample_M, name="head")
    head = head[head.index.isin(attributed_images(files, number).sample_N)]
    return pd.DataFrame({"class": files.classes.iloc[head.index].to_numpy(), "head": head})


def head_name(row: Mapping[str, Any], head: int) -> str:
    """Return how a head of ``row``, one of ``rows`` of the part, is called: by its known class, or its number."""
    known: list[str] = row["known_heads"]
    return known[head] if head < len(known) else str(head)


def _first_unlabelled(files: RunFiles) -> dict[str, int]:
    """Return by class the number of the first task in which it comes without a label."""
    return {name: task["index"] + 1 for task in reversed(files.tasks) for name in task.get("unlabelled", [])}


def _row(files: RunFiles, number: int) -> tuple[dict[str, Any], Attribution] | None:
    """Return the results after ``number`` tasks, and where the images fall; None where there are no heads."""
    heads = files.head_logits(number)
    if heads is None:
        return None
    asked = attributed_images(files, number)
    names, class_ids = files.classes, asked.class_ids
    kept_M = np.isin(heads.sample_M, asked.sample_N)
    sample_M, logit_MK = heads.sample_M[kept_M], heads.logit_MK[kept_M]
    name_M, num_known = names.iloc[sample_M], min(len(class_ids), logit_MK.shape[1])
    true_M = name_M.map(asked.ids).to_numpy(dtype=np.int64)
    own_M = None if heads.novelty_M is None else heads.novelty_M[kept_M]
    images = pd.DataFrame(
        {
            "true": true_M,
            "head": logit_MK.argmax(axis=1),
            "novelty": novelty.softmax_novelty(logit_MK, num_known) if own_M is None else own_M,
            # of the known classes, the likeliest is the true one
            "right": logit_MK[:, :num_known].argmax(axis=1) == true_M,
            "label": files.frame["label"].iloc[sample_M].to_numpy(),
            "fake": files.logits(number)[sample_M],
            "source": files.frame["source"].iloc[sample_M].to_numpy(),
        }
    )
    known = set(class_ids.values())
    use = images["head"].value_counts()
    row = {
        "row": number,
        "num_images": len(sample_M),
        "num_missing": len(asked.sample_N) - len(sample_M),
        "num_later": asked.num_later,
        "novelty_score": "softmax" if own_M is None else "own",
        "scores": _scores(images, known),
        "by_source": {
            str(source): {"num_images": len(part), **_scores(part, known)}
            for source, part in images.groupby("source")
            if part["true"].nunique() > 1
        },
        "num_classes": images["true"].nunique(),
        "num_heads": int((logit_MK > ABSENT / 2).any(axis=0).sum()),
        "num_used": len(use),
        "num_used_1pct": int((use >= SMALL * len(sample_M)).sum()),
        "known_heads": sorted(class_ids, key=lambda name: class_ids[name])[:num_known],
        **_classes(images, {index: name for name, index in asked.ids.items()}, known),
    }
    return row, Attribution(name_M.to_numpy(dtype=object), images["head"].to_numpy(), class_ids)


def _scores(images: pd.DataFrame, known: set[int]) -> dict[str, float]:
    """Return the scores of ``images``: class id ``true``, ``head``, ``novelty``, and whether the likeliest known class is ``right``."""
    novel, score = ~images["true"].isin(known), images["novelty"]
    asked = images[((images["label"] == REAL) | novel) & images["fake"].notna()]
    return {
        **attribution_scores(images["true"], images["head"], known),
        "auroc": novelty.auroc(novel, score),
        "fpr95": novelty.fpr_at_tpr(novel, score),
        "oscr": novelty.oscr(novel, score, images["right"]),
        "novel_auc": auc(asked["label"], asked["fake"]),
    }


def _classes(images: pd.DataFrame, names: Mapping[int, str], known: set[int]) -> dict[str, Any]:
    """Return the heads in the order of the matching, and for every class with test images where these fall."""
    confusion = matched_confusion(images["true"], images["head"], known)
    classes = []
    for index, count_K in zip(confusion.class_C.tolist(), confusion.count_CK, strict=True):
        total = int(count_K.sum())
        fallen = dict(zip(confusion.head_K.tolist(), count_K.tolist(), strict=True))
        classes.append(
            {
                "name": names[index],
                "id": index,
                "known": index in known,
                "num_images": total,
                "accuracy": fallen.get(index, 0) / total if index in known else float("nan"),
                "head": int(confusion.head_K[count_K.argmax()]),
                "share": float(count_K.max() / total),
                "match": confusion.match.get(index),
                "heads": {str(head): count for head, count in fallen.items() if count},
            }
        )
    return {"head_order": confusion.head_K.tolist(), "classes": classes}


def _describe(life: Life) -> dict[str, Any]:
    """Return a life as JSON holds it, keys as text."""
    by_task = {
        name: {str(number): value for number, value in getattr(life, name).items()}
        for name in ("states", "values", "heads")
    }
    return {**life._asdict(), **by_task, "lag": life.lag, "forgetting": life.forgetting}


def _mean(values: list[float]) -> float:
    """Return the mean of what is not NaN, NaN for nothing."""
    measured = [value for value in values if not np.isnan(value)]
    return sum(measured) / len(measured) if measured else float("nan")
