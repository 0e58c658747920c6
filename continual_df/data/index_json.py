"""The nesting of DeepfakeBench's index files, whatever its depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from continual_df.data.frame_table import Skipped
from continual_df.data.json_file import read_json
from continual_df.errors import FrameTableError

COMPRESSIONS = ("raw", "c0", "c23", "c40")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Video(NamedTuple):
    """One entry of an index, and where it stands."""

    file: Path
    dataset: str
    class_label: str
    split: str
    video_id: str
    entry: dict[str, Any]

    @property
    def key(self) -> str:
        """Place of the entry in its file."""
        return f"{self.dataset}/{self.class_label}/{self.split}/{self.video_id}"


def videos_of(file: Path, compression: str | None, skipped: list[Skipped]) -> Iterator[Video]:
    """Yield the entries of the index ``file``, whatever its depth."""
    index = read_json(file, "Download or make the index again")

    def items(node: object, *place: str) -> list[tuple[str, Any]]:
        if not isinstance(node, dict):
            raise FrameTableError(
                f"expected an object, found {type(node).__name__}",
                file=file,
                row="/".join(place) or "top level",
                fix="A DeepfakeBench index nests dataset, class, split, video; lists of paths are for 'PathList'",
            )
        return list(node.items())

    for dataset, classes in items(index):
        for class_label, by_split in items(classes, dataset):
            for split_name, videos in items(by_split, dataset, class_label):
                place = (dataset, class_label, split_name)
                split = _SPLITS.get(split_name.lower())
                if split is None:
                    raise FrameTableError(
                        f"unknown split '{split_name}'",
                        file=file,
                        row="/".join(place),
                        fix="Name it train, val or test",
                    )
                entries = items(videos, *place)
                levels = [key for key, _ in entries if key in COMPRESSIONS]
                if levels and len(levels) == len(entries):
                    level = compression or (levels[0] if len(levels) == 1 else None)
                    if level not in levels:
                        raise FrameTableError(
                            f"compression {level or 'is not set'}; the index holds {', '.join(levels)}",
                            file=file,
                            row="/".join(place),
                            fix="Set 'compression' to one of them",
                        )
                    entries = items(videos[level], *place, level)
                for video_id, entry in entries:
                    video = Video(file, dataset, class_label, split, str(video_id), entry)
                    frames, masks = (
                        (entry.get("frames"), entry.get("masks")) if isinstance(entry, dict) else (None, None)
                    )
                    if not _names(frames):
                        skipped.append(Skipped(video.key, "malformed entry: no list 'frames'"))
                    elif masks and not _names(masks):
                        skipped.append(Skipped(video.key, "malformed entry: 'masks' is no list of names"))
                    elif not frames:
                        skipped.append(Skipped(video.key, "empty video"))
                    else:
                        yield video


def _names(value: object) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {str}
