"""What a data set's video names say: which video was altered, and who is seen in it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from continual_df.data.methods import known_method, squeeze

Scheme = Literal["ff", "celebdf", "dfd", "plain"]


class VideoId(NamedTuple):
    """The altered (or real) video, and the identities in it, target first."""

    target: str
    identities: tuple[str, ...]


_FF = re.compile(r"^(\d{3})(?:_(\d{3}))?(?:_.*)?$")
_CELEB_SWAP = re.compile(r"^(id\d+)_(id\d+)_(\d+)(?:_.*)?$")
_CELEB_REAL = re.compile(r"^(id\d+)_(\d+)(?:_.*)?$")
_DFD = re.compile(r"^(\d{2})(?:_(\d{2}))?__(.+?)(?:__[A-Z0-9]{8})?$")


def parse_video_id(video_id: str, scheme: Scheme) -> VideoId:
    """Return what ``video_id`` says under ``scheme``; an id that does not fit stands for itself, without identities.

    ``ff``: ``000`` or ``000_003[_method]`` (target 000, donor 003), every FaceForensics++ video showing a person of
    its own. ``celebdf``: ``id0_0000`` or ``id0_id1_0000`` (target id0, donor id1). ``dfd``: ``01__scene`` or
    ``01_02__scene__HASH``.

    >>> parse_video_id("000_003_simswap", "ff")
    VideoId(target='000', identities=('000', '003'))
    >>> parse_video_id("id0_id1_0000", "celebdf")
    VideoId(target='id0_0000', identities=('id0', 'id1'))
    """
    if scheme == "ff" and (found := _FF.match(video_id)):
        return VideoId(found[1], (found[1], *([found[2]] if found[2] else [])))
    if scheme == "celebdf":
        if found := _CELEB_SWAP.match(video_id):
            return VideoId(f"{found[1]}_{found[3]}", (found[1], found[2]))
        if found := _CELEB_REAL.match(video_id):
            return VideoId(f"{found[1]}_{found[2]}", (found[1],))
    if scheme == "dfd" and (found := _DFD.match(video_id)):
        return VideoId(f"{found[1]}__{found[3]}", (found[1], *([found[2]] if found[2] else [])))
    return VideoId(video_id, ())


_DATASETS: dict[str, tuple[str, Scheme]] = {
    **{
        name: ("ff", "ff")
        for name in ("faceforensics", "ff", "ffdf", "fff2f", "fffs", "ffnt", "fffh", "ffsh", "ffreal", "faceshifter")
    },
    "deepfakedetection": ("dfd", "dfd"),
    "dfd": ("dfd", "dfd"),
    "celebdfv1": ("cdf", "celebdf"),
    "celebdfv2": ("cdf", "celebdf"),
    "cdf": ("cdf", "celebdf"),
    "deeperforensics10": ("deeperforensics", "plain"),
}
_OWN_DOMAIN = ("dfdc", "dfdcp", "uadfv")
# the reals that DF40's nine unknown methods bring along
_DF40_REALS = {
    "deepfacelab": "uadfv",
    "heygen": "vfhq",
    "midjourney": "ffhq",
    "whichisreal": "ffhq",
    "stargan": "celeba",
    "starganv2": "celeba",
    "styleclip": "celeba",
    "collabdiff": "celeba",
    "e4e": "celeba",
}


@lru_cache(maxsize=1024)
def _named(dataset: str) -> tuple[tuple[str, Scheme] | None, str]:
    """Return domain and naming where ``dataset``'s name alone tells them, and the domain to fall back on."""
    name = re.sub(r"_(c23|c40|raw)$", "", dataset)
    for key in (squeeze(name), name.rpartition("_")[2].lower()):
        if key in _DATASETS:
            return _DATASETS[key], ""
    if squeeze(name) in _OWN_DOMAIN:
        return None, squeeze(name)
    method = known_method(name)
    return None, _DF40_REALS.get(method.name, "") if method else ""


def source_of(dataset: str, folders: list[str]) -> tuple[str, Scheme]:
    """Return the domain of ``dataset``'s pixels ("" where its name tells none) and how its videos are named.

    Args:
        dataset: Key of a DeepfakeBench index (``FaceForensics++``, ``simswap_ff``, ``stargan``, ...).
        folders: Folders of one of its frames; DF40's ``ff`` or ``cdf`` among them decides for mixed indices.
    """
    known, fallback = _named(dataset)
    if known is not None:
        return known
    for folder in folders:
        if folder.lower() in ("ff", "cdf"):
            return _DATASETS[folder.lower()]
    return fallback, "plain"
