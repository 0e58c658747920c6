"""What the class labels of DeepfakeBench indices mean."""

from __future__ import annotations

import re
from typing import NamedTuple

from continual_df.data.methods import DF40_METHODS, canonical, known_method, squeeze
from continual_df.labels import FAKE, REAL, REAL_METHOD


class Meaning(NamedTuple):
    """Label and canonical method of a class; an empty method is to be taken from the frames' folders."""

    label: int
    method: str


_SUFFIX = re.compile(r"^(?P<stem>.*?)[_\-\s]*(?P<kind>real|fake)$", re.IGNORECASE)
_POOLS = ("fsall", "frall", "efsall", "feall", "df40train", "df40all", "df40", "df40test")


def meaning_of(class_label: str, dataset: str) -> Meaning | None:
    """Return what ``class_label`` means, or None where it says neither real nor fake.

    ``whichisreal_Fake`` is fake although it contains "real": only the end counts. ``null_*`` classes are controls,
    real images under a name of their own. DF40's pools (``FSAll_Fake``) hold many methods.

    >>> meaning_of("FF-F2F", "FaceForensics++"), meaning_of("whichisreal_Fake", "whichisreal")
    (Meaning(label=1, method='face2face'), Meaning(label=1, method='whichisreal'))
    """
    known = known_method(class_label)
    if known is not None:
        return Meaning(FAKE, known.name)
    found = _SUFFIX.match(class_label)
    if found is None:
        return None
    if canonical(found["stem"]).startswith("null_"):
        return Meaning(REAL, canonical(found["stem"]))
    if found["kind"].lower() == "real":
        return Meaning(REAL, REAL_METHOD)
    stem = found["stem"] or dataset
    if squeeze(stem) in _POOLS:
        return Meaning(FAKE, "")
    return Meaning(FAKE, canonical(stem))


def method_in_path(folders: list[str]) -> str:
    """Return the DF40 method that the first fitting one of ``folders`` names, or the empty string."""
    for folder in folders:
        method = known_method(folder)
        if method in DF40_METHODS:
            return method.name if method else ""
    return ""
