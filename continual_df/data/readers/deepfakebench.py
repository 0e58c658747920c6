"""The dataset-index JSON of DeepfakeBench and DF40."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from continual_df.data.class_labels import Meaning, meaning_of, method_in_path
from continual_df.data.disk import DiskIndex
from continual_df.data.file_names import split_path
from continual_df.data.frame_table import FrameTable, Skipped, check_frame
from continual_df.data.index_json import Video, videos_of
from continual_df.data.json_file import collector_off
from continual_df.data.methods import canonical
from continual_df.data.readers.reader import Reader, existing_file, existing_folder
from continual_df.data.video_ids import Scheme, parse_video_id, source_of
from continual_df.errors import FrameTableError
from continual_df.labels import FAKE, REAL, REAL_METHOD

_COLUMNS = ("path", "label", "method", "source", "group", "video", "identity", "split", "mask")


@dataclass(frozen=True)
class DeepfakeBench(Reader):
    """Frames listed in DeepfakeBench [1] or DF40 [2] index files, whatever copy of the data lies on disk.

    An index nests dataset, class, split, (compression,) video: ``{"label", "frames", "masks"}``. Paths may hold
    backslashes and any prefix: the longest end of a frame's folder that exists below ``root`` counts, without regard
    to case, and through the alias table of methods (``danet`` is ``dagan``).

    ``group`` is the target's source video with its source in front, so ``000_003`` of FaceForensics++ stands with the
    real ``000`` in ``ff/000``. ``identity`` names target and donor where the video's name tells (``ff/000|ff/003``):
    the official split keeps such pairs together, and `split_by_group` links groups through identities. A class folder
    without video folders (DF40's ``stargan/fake/fake``) holds stills: each is a video of its own, grouped by its name.

    An entry's ``meta: {identity: target|donor}``, as `continual-df forge` writes it, goes before the name.

    A frame that several indices or splits list is kept once, in the split that forbids most: test, then val.
    Differs from [1]: frames are spread over the whole video, where its loader takes the first ones.

    [1] Yan et al., 2023, arXiv:2307.01426
    [2] Yan et al., 2024, arXiv:2406.13495

    Args:
        index: Index files.
        root: Folder of the images.
        compression: ``c23``, ``c40`` or ``raw``, for indices that hold several.
        frames_per_video: At most that many frames a video, evenly spaced; null for all.
        methods: Canonical names of the methods to keep; reals are always kept.
        splits: Splits to keep, e.g. ``[test]`` for sets whose other splits repeat the test videos.
        source: Domain of the pixels; by default ``ff``, ``cdf``, ``celeba``, ... after the dataset's name, else the
            root's name.
        ids: How videos are named (`parse_video_id`); by default after the dataset's name.
        labels: Class labels that do not end in Real or Fake: label to method (``real`` for real images).
        strip: Leading part of the index's paths to drop; then nothing is searched for.
        check_files: Whether frames that do not exist are left out; without it files are not looked for.
    """

    index: list[str]
    root: str
    compression: str | None = None
    frames_per_video: int | None = 32
    methods: list[str] | None = None
    splits: list[Literal["train", "val", "test"]] | None = None
    source: str | None = None
    ids: Literal["auto", "ff", "celebdf", "dfd", "plain"] = "auto"
    labels: dict[str, str] | None = None
    strip: str | None = None
    check_files: bool = True

    def __post_init__(self) -> None:
        if self.frames_per_video is not None and self.frames_per_video < 1:
            raise ValueError(f"frames_per_video is {self.frames_per_video}; it is at least 1, or null for all frames")
        if not self.index:
            raise ValueError("index is empty; name at least one JSON file")

    def read(self) -> FrameTable:
        """Return the frames of all index files."""
        root = existing_folder(self.root, "the index " + Path(self.index[0]).name)
        work = _Reading(self, DiskIndex(root))
        for name in self.index:
            file = existing_file(name, "The index file", "index")
            with collector_off():
                for video in videos_of(file, self.compression, work.skipped):
                    if self.splits is None or video.split in self.splits:
                        work.add(video)
        return work.table(root)


@dataclass
class _Reading:
    """The rows found so far."""

    spec: DeepfakeBench
    disk: DiskIndex
    columns: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _COLUMNS})
    skipped: list[Skipped] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    listed: int = 0
    meanings: dict[tuple[str, str, str], Meaning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        methods = self.spec.methods
        self.wanted = None if methods is None else {REAL_METHOD, *map(canonical, methods)}
        self.root_name = self.disk.root.resolve().name

    def add(self, video: Video) -> None:
        """Add the rows of one video, or say why there are none."""
        meaning, wanted = self._meaning(video), self.wanted
        if meaning.method:
            self.seen.add(meaning.method)
            if wanted is not None and meaning.method not in wanted:
                return
        paths, masks, folders = self._frames(video)
        if not meaning.method:
            meaning = Meaning(FAKE, method_in_path(folders))
            if not meaning.method:
                raise FrameTableError(
                    f"no folder of '{video.entry['frames'][0]}' names a method of DF40",
                    file=video.file,
                    row=video.key,
                    fix="Read the per-method index files instead of the pooled one",
                )
            self.seen.add(meaning.method)
        if not paths or (wanted is not None and meaning.method not in wanted):
            return
        source, scheme = source_of(video.dataset, folders)
        meta = video.entry.get("meta")
        source = self.spec.source or source or self.root_name
        stills = folders[-1:] != [] and folders[-1].lower() in ("real", "fake")
        if stills:
            names = [_stem(path) for path in paths]
        else:
            if len(paths) > (self.spec.frames_per_video or len(paths)):
                keep = spread(len(paths), self.spec.frames_per_video)
                paths, masks = [paths[i] for i in keep], [masks[i] for i in keep]
            names = [video.video_id]
        ids: Scheme = scheme if self.spec.ids == "auto" else self.spec.ids
        parsed = [parse_video_id(name, ids) for name in names]
        identity = _people(meta) or ([] if stills else parsed[0].identities)
        self._extend(
            path=paths,
            mask=masks,
            label=[meaning.label],
            method=[meaning.method],
            source=[source],
            group=[f"{source}/{item.target}" for item in parsed],
            video=[f"{video.dataset}/{video.class_label}/{name}" for name in names],
            identity=["|".join(f"{source}/{person}" for person in identity)],
            split=[video.split],
        )

    def _extend(self, **values: list[Any]) -> None:
        num = len(values["path"])
        for name, value in values.items():
            self.columns[name] += value if len(value) == num else value * num

    def _meaning(self, video: Video) -> Meaning:
        label = str(video.entry.get("label", video.class_label))
        key = (video.dataset, video.class_label, label)
        if key not in self.meanings:
            self.meanings[key] = self._agreed_meaning(video, label)
        return self.meanings[key]

    def _agreed_meaning(self, video: Video, own_label: str) -> Meaning:
        """Return what the class and the entry's own label mean, where they agree."""
        found = {}
        for label in (video.class_label, own_label):
            named = (self.spec.labels or {}).get(label)
            if named is not None:
                method = canonical(named)
                found[label] = Meaning(REAL if method == REAL_METHOD or method.startswith("null_") else FAKE, method)
                continue
            meaning = meaning_of(label, video.dataset)
            if meaning is None:
                raise FrameTableError(
                    f"the class '{label}' says neither real nor fake",
                    file=video.file,
                    row=video.key,
                    column="label",
                    fix=f"Add it to 'labels', e.g. labels: {{{label}: method_name}} or {{{label}: real}}",
                )
            found[label] = meaning
        if len({meaning.label for meaning in found.values()}) > 1:
            raise FrameTableError(
                f"the entry stands under '{video.class_label}' but is labelled '{video.entry['label']}'",
                file=video.file,
                row=video.key,
                column="label",
                fix="Make both say real, or both fake",
            )
        return next(iter(found.values()))

    def _frames(self, video: Video) -> tuple[list[str], list[str], list[str]]:
        """Return paths and masks below the root in frame order, and the folders of the first frame."""
        listed = [split_path(frame, self.spec.strip) for frame in video.entry["frames"]]
        if len(listed) > 1:
            listed.sort(key=_frame_order)
        self.listed += len(listed)
        masks = {}
        for folder, name in (split_path(mask, self.spec.strip) for mask in video.entry.get("masks") or []):
            found = self._locate(folder, name)
            if found is None:
                self.skipped.append(Skipped(f"{video.key}: {folder}/{name}", "mask file missing (frame kept)"))
            else:
                masks[_stem(name)] = found
        paths, stems = [], []
        for folder, name in listed:
            found = self._locate(folder, name)
            if found is None:
                self.skipped.append(Skipped(f"{video.key}: {folder}/{name}", "file missing"))
            else:
                paths.append(found)
                stems.append(_stem(name))
        folders = (paths[0] if paths else "/".join(listed[0])).split("/")[:-1]
        return paths, [masks.get(stem, "") for stem in stems], folders

    def _locate(self, folder: str, name: str) -> str | None:
        """Return the file's path below the root, or None where it does not exist."""
        if self.spec.check_files:
            return self.disk.locate(folder, name, search=self.spec.strip is None)
        place = self.disk.folder(folder, search=self.spec.strip is None)
        place = folder if place is None else place
        return f"{place}/{name}" if place else name

    def table(self, root: Path) -> FrameTable:
        """Return the finished table."""
        spec, where = self.spec, ", ".join(self.spec.index)
        absent = [name for name in spec.methods or [] if canonical(name) not in self.seen]
        if absent:
            raise FrameTableError(
                f"no video of '{absent[0]}'; the index holds {', '.join(sorted(self.seen))}",
                file=where,
                fix="Correct 'methods'",
            )
        frame = pd.DataFrame(self.columns)
        if frame.empty:
            example = next((item.entry for item in self.skipped if item.reason == "file missing"), "")
            raise FrameTableError(
                f"none of its {self.listed} frames exists below '{root}'{f', e.g. {example}' if example else ''}",
                file=where,
                fix="Correct 'root' (or 'strip'), or the splits asked for",
            )
        return FrameTable(check_frame(self._unique(frame, where), where), root, self.skipped)

    def _unique(self, frame: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return ``frame`` with each file once, in the strictest of its splits."""
        twice = frame[frame.duplicated("path", keep=False)]
        if twice.empty:
            return frame
        both = twice.groupby("path")["label"].nunique()
        if (both > 1).any():
            path = both.index[both > 1][0]
            raise FrameTableError(
                f"'{path}' is listed as real and as fake ({int((both > 1).sum())} such files)",
                file=where,
                fix="Set 'strip', or a 'root' above both folders, so that each finds its own",
            )
        rank = frame["split"].map({"test": 0, "val": 1, "train": 2})
        keep = ~frame.loc[rank.sort_values(kind="stable").index].duplicated("path").reindex(frame.index)
        kept_split = frame[keep].set_index("path")["split"]
        for video, path, split in frame.loc[~keep, ["video", "path", "split"]].itertuples(index=False):
            reason = "listed twice" if kept_split[path] == split else f"in {split} but also in {kept_split[path]}"
            self.skipped.append(Skipped(f"{video}: {path}", f"{reason} (kept once)"))
        return frame[keep]


def spread(num: int, limit: int | None) -> list[int]:
    """Return ``limit`` of ``num`` positions, evenly spaced from the first to the last; all if there are fewer.

    >>> spread(100, 4), spread(3, 8)
    ([0, 33, 66, 99], [0, 1, 2])
    """
    if limit is None or num <= limit:
        return list(range(num))
    return [int(position) for position in np.linspace(0, num - 1, limit).round()]


def _frame_order(place: tuple[str, str]) -> tuple[list[str | tuple[int, str]], str]:
    """Order frames by the numbers in their names, so that frame 10 follows frame 9; any name will do."""
    folder, name = place
    stem = _stem(name)
    if stem.isdecimal():
        return ["", _number(stem)], folder
    return [_number(part) if part.isdecimal() else part for part in re.split(r"(\d+)", stem)], folder


def _number(digits: str) -> tuple[int, str]:
    """Return what orders ``digits`` by value; Python reads no number of thousands of them."""
    value = digits.lstrip("0")
    return len(value), value


def _people(meta: object) -> list[str]:
    """Return the identities that an entry's ``meta`` names as a list or ``target|donor``."""
    value = (meta.get("identity") if isinstance(meta, dict) else None) or []
    return [str(item) for item in (value if isinstance(value, list) else str(value).split("|"))]


def _stem(path: str) -> str:
    """Return the file's name without its ending; a Path takes ten times as long."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name
