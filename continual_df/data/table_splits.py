"""The split of every row: the table's own, or made by group where there is none or another one is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from continual_df.data.frame_table import DEV_TEST
from continual_df.data.splits import linked_components, split_by_group
from continual_df.errors import StreamError


@dataclass(frozen=True)
class SplitSettings:
    """What `ForgeryStream` says about splits; its docstring has the meaning of each."""

    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    resplit: bool | list[str] = False
    val_fraction: float = 0.0
    dev_test_fraction: float = 0.0
    by_image: bool = False
    link_identities: bool = True
    seed: int = 0


def make_splits(frame: pd.DataFrame, settings: SplitSettings) -> pd.Series:
    """Return the split of every row of ``frame``: ``train``, ``val``, ``dev_test``, ``test``, or the empty string for none.

    Sources without any split, or in ``resplit``, are split by group. Then validation is taken from the training groups of the
    others, in place of their own, and last dev_test from the training groups of all sources that have none.

    Raises:
        StreamError: If a source has splits in some rows only, or a share leaves a split empty.
    """
    link = settings.link_identities
    if settings.by_image:
        frame, link = frame.assign(group=frame["path"]), False
    split = frame["split"].copy() if "split" in frame.columns else pd.Series("", index=frame.index, dtype=object)
    bare = (split == "").groupby(frame["source"]).transform("all") | _resplit(frame, settings.resplit)
    gaps = (split == "") & ~bare
    if gaps.any():
        raise StreamError(
            f"{int(gaps.sum())} of {len(frame)} rows have no split, the first is row {int(gaps.idxmax())}, but "
            "others of their source have one: fill them in, or set data.init_args.resplit to split by group."
        )
    if bare.any():
        split[bare] = split_by_group(frame[bare], settings.fractions, settings.seed, link)
    if settings.val_fraction:
        # an official val that repeats test must not select anything
        split = split.where(bare | (split != "val"), "")
        train = frame[~bare & (split == "train")]
        component = pd.Series(linked_components(train, link), index=train.index)
        _take(train, component, split, "val", settings.val_fraction, settings.seed, link)
    if settings.dev_test_fraction:
        train = frame[split == "train"]
        component = pd.Series(linked_components(train, link), index=train.index)
        own = (split == DEV_TEST).groupby(frame["source"]).transform("any")[train.index]
        free = ~own.groupby(component).transform("any")  # whole components only, or one would straddle two splits
        _take(train[free], component[free], split, DEV_TEST, settings.dev_test_fraction, settings.seed, link)
    return split


def _take(
    train: pd.DataFrame, component: pd.Series, split: pd.Series, name: str, share: float, seed: int, link: bool
) -> None:
    """Move ``share`` of the training groups to split ``name``, of each source and method, so that none goes without."""
    first = train.groupby(component)[["source", "method"]].transform("first")
    for _, part in train.groupby([first["source"], first["method"]]):
        if component[part.index].nunique() > 1:
            made = split_by_group(part, (1 - share, share, 0.0), seed, link)
            split[part.index] = made.replace("val", name)


def _resplit(frame: pd.DataFrame, resplit: bool | list[str]) -> pd.Series:
    """Return whether the own split of each row is ignored."""
    if isinstance(resplit, bool):
        return pd.Series(resplit, index=frame.index)
    sources = sorted(set(frame["source"]))
    for name in resplit:
        if name not in sources:
            raise StreamError(f"Unknown source '{name}' in data.init_args.resplit; they are {', '.join(sources)}.")
    return frame["source"].isin(resplit)
