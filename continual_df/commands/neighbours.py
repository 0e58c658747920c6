"""``continual-df neighbours``: the training images, and the prototypes, that images are nearest to."""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from continual_df.class_names import class_names
from continual_df.commands.quiet import quieten
from continual_df.commands.run_models import open_models, refuse_unfinished
from continual_df.data.datamodule import ForgeryStream
from continual_df.data.frame_table import FrameTable
from continual_df.data.images import TableImages, decode_image
from continual_df.data.stream import Stream
from continual_df.errors import ConfigError
from continual_df.extraction import Extraction
from continual_df.methods.open_world_stream import FIRST_CLUSTER
from continual_df.models.prototypes import PrototypeBank
from continual_df.models.vector_search import exact_search
from continual_df.stop_signals import StopSignals
from continual_df.task import Rows

FALSE_POSITIVES = 0.05
"""Share of known images that may be called novel; one image where there are too few."""


def main(argv: list[str]) -> int:
    """Print the neighbours of the images named in ``argv``, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df neighbours",
        description="Show the training images of a run that its model takes to be most like the given ones (cosine similarity "
        "of the features, without augmentation), and their methods; where the run's method keeps prototypes, the nearest of "
        "those, too. Settings that a resumed run may change can stand behind, such as --trainer.accelerator cpu.",
        allow_abbrev=False,
    )
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image file")
    parser.add_argument("--run", metavar="RUN", type=Path, required=True, help="folder of a run")
    parser.add_argument("--k", type=int, default=5, help="neighbours of each image (default: 5)")
    parser.add_argument(
        "--task", type=int, help="model after this task, images of the tasks up to it (default: the last)"
    )
    arguments, rest = parser.parse_known_args(argv)
    if arguments.k < 1:
        raise ConfigError(f"--k is {arguments.k}: it must be at least 1.")
    folder = refuse_unfinished(arguments.run, rest, "neighbours", "searched")
    last = folder.last_task()
    number = last if arguments.task is None else arguments.task
    if not 1 <= number <= last:
        raise ConfigError(f"--task is {number}: '{arguments.run}' has finished tasks 1 to {last}.")
    sizes = [tuple(decode_image(path).shape[1:]) for path in arguments.images]  # before the run's data is read
    quieten()
    console = Console(highlight=False)
    models = open_models(folder, rest, "searched", StopSignals(), console)
    data = models.cli.datamodule
    if not isinstance(data, ForgeryStream):
        raise ConfigError(
            f"'{arguments.run}' cannot be searched: its images come through the transforms of an Avalanche benchmark, which "
            "files do not go through. Name a run on a frame table."
        )
    stream = models.stream
    member = _training_rows(stream, number)
    sample = torch.tensor(member.index.unique().to_numpy())
    if data.image_size is None:
        _refuse_other_size(arguments.images, sizes, tuple(data.images(int(sample[0])).shape[1:]))
    method = models.method(number)
    given = copy.copy(data)
    files = pd.DataFrame({"path": [str(path) for path in arguments.images]})
    given.images = TableImages(FrameTable(files, Path()), data.channels)
    feature_ND = _features(models.extraction(method), sample)
    query_BD = _features(models.extraction(method, given), torch.arange(len(files)))
    similarity_Bk, place_Bk = exact_search(F.normalize(feature_ND, dim=1), F.normalize(query_BD, dim=1), arguments.k)
    bank = getattr(method, "bank", None)
    console.print(
        f"{len(sample)} training images of the tasks up to {number}, by the model after it; their paths are below "
        f"{escape(str(stream.table.root))}",
        soft_wrap=True,
    )
    for row, path in enumerate(arguments.images):
        console.print(f"\n[bold]{escape(str(path))}[/bold]", soft_wrap=True)
        found = place_Bk[row] >= 0
        console.print(_images_table(stream, member, similarity_Bk[row][found], sample[place_Bk[row][found]]))
        if isinstance(bank, PrototypeBank):
            query_1D, class_ids = query_BD[row : row + 1], stream.tasks[number - 1].class_ids
            console.print(_prototypes_table(bank, query_1D, arguments.k, class_ids))
            console.print(f"novelty to the known classes: {_novelty(bank, query_1D, class_ids)}", soft_wrap=True)
    return 0


def _training_rows(stream: Stream, number: int) -> pd.DataFrame:
    """Return ``task`` and ``split`` of the training images of tasks 1 to ``number``, by sample; one can be in several."""
    rows = stream.membership
    rows = rows[rows["task"].between(0, number - 1) & rows["split"].isin(("train", "unlabelled"))]
    return rows.set_index("sample").sort_index(kind="stable")


def _features(extract: Extraction, sample: Tensor) -> Tensor:
    """Return feature_ND of ``sample``."""
    unlabelled = torch.full_like(sample, -1)
    return extract(Rows(sample, unlabelled, unlabelled, unlabelled), ("features",))["features"]


def _refuse_other_size(paths: list[Path], sizes: list[tuple[int, ...]], expected: tuple[int, ...]) -> None:
    """Refuse images (height, width) of another size than the run's, which are not resized."""
    for path, size in zip(paths, sizes, strict=True):
        if size != expected:
            raise ConfigError(
                f"'{path}' is {size[1]}x{size[0]}, and the run's images are {expected[1]}x{expected[0]}; its "
                "data.init_args.image_size resizes none. Resize the image."
            )


def _images_table(stream: Stream, member: pd.DataFrame, similarity_k: Tensor, sample_k: Tensor) -> Table:
    """Return the nearest training images, nearest first."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("similarity", justify="right")
    for heading in ("path", "method", "source", "task"):
        table.add_column(heading, overflow="fold")
    frame = stream.table.frame.loc[sample_k.numpy()]
    method = class_names(frame, stream.names)
    for rank, (sample, similarity) in enumerate(zip(sample_k.tolist(), similarity_k.tolist(), strict=True), start=1):
        own = member.loc[[sample]]
        label = "" if (own["split"] == "train").any() else " (no label)"
        tasks = ", ".join(str(task + 1) for task in own["task"])
        cells = (frame.at[sample, "path"], method[sample] + label, frame.at[sample, "source"], tasks)
        table.add_row(str(rank), f"{similarity:.4f}", *map(escape, cells))
    return table


def _prototypes_table(bank: PrototypeBank, query_1D: Tensor, k: int, class_ids: dict[str, int]) -> Table:
    """Return the nearest prototypes, nearest first."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("similarity", justify="right")
    table.add_column("prototype", justify="right")
    table.add_column("class", overflow="fold")
    similarity_1k, id_1k = bank.search(query_1D, k)
    names = {class_id: name for name, class_id in class_ids.items()}
    found = zip(similarity_1k[0].tolist(), id_1k[0].tolist(), bank.classes(id_1k)[0].tolist(), strict=True)
    for rank, (similarity, id, class_id) in enumerate(found, start=1):
        if id >= 0:
            name = names.get(class_id, f"no name, head {max(names) + 1 + FIRST_CLUSTER - class_id}")
            table.add_row(str(rank), f"{similarity:.4f}", str(id), escape(name))
    return table


def _novelty(bank: PrototypeBank, query_1D: Tensor, class_ids: dict[str, int]) -> str:
    """Return the share of known validation images that are at least as near to a prototype of a known class, and what it means."""
    if not bank.calibration.calibrated:
        return "not calibrated"
    novelty = float(bank.novelty(query_1D, list(class_ids.values())))
    rate = max(FALSE_POSITIVES, 1 / len(bank.calibration.known_N))
    threshold = bank.calibration.threshold(rate)
    verdict = "novel" if novelty > threshold else "not novel"
    return f"{novelty:.3f}, {verdict} (at most {rate:.0%} of known images are above {threshold:.3f})"
