"""``continual-df data nevis``: write the settings of a stream of NEVIS'22 over the data sets that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from continual_df.data.nevis import Event, Found


def write_nevis(root: str, stream: str, out: Path) -> int:
    """Write ``out`` and say which events are in it and which are not; return 0."""
    import yaml
    from rich.console import Console

    from continual_df.data.nevis import find_events, stream_settings, streams
    from continual_df.files import renamed

    events = streams()[stream]
    found = find_events(events, root)
    told = _told(stream, len(events), found)
    settings = yaml.safe_dump(stream_settings(stream, found.present), sort_keys=False, allow_unicode=True, width=120)
    with renamed(out) as path:
        path.write_text("".join(f"# {line}\n" for line in told) + settings, encoding="utf-8")
    console = Console()
    for line in [*told, *_odd(found), f"settings in {out}: run them with --config {out} --config METHOD.yaml"]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _told(stream: str, num: int, found: Found) -> list[str]:
    """Return a line on what is present, absent and left out."""
    present = [event for event, _ in found.present]
    return [
        f"NEVIS'22 {stream} (arXiv:2211.11747): {len(present)} of {num} events",
        f"present {len(present)}: {_names(present)}",
        f"absent {len(found.absent)}: {_names(found.absent)}",
        f"left out {len(found.multi_label)}, since their images have several labels: {_names(found.multi_label)}",
    ]


def _names(events: Iterable[Event]) -> str:
    return ", ".join(f"{event.position} {event.dataset}" for event in events) or "none"


def _odd(found: Found) -> list[str]:
    """Return a line on every data set that differs from that of NEVIS, or whose validation is not used."""
    from continual_df.data.nevis import class_folders

    folders = {event: path for event, path in found.present}
    first = {event.folder: event for event in reversed(folders)}
    own = {event: class_folders(folders[event]) for event in first.values()}
    replaced = any(splits and "val" not in splits for _, splits in own.values())
    lines = []
    for event, (classes, splits) in own.items():
        if event.num_classes is not None and len(classes) != event.num_classes:
            lines.append(
                f"note: {event.dataset} has {len(classes)} class folders, {event.num_classes} classes in NEVIS"
            )
        if "val" in splits and replaced:
            lines.append(f"note: the val of {event.dataset} is not used, since val_fraction takes another from train")
    return lines
