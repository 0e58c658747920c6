"""``continual-df cluster``: group a run's images by its features (GCD), and estimate how many methods there are."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from continual_df.commands.quiet import quieten
from continual_df.commands.run_models import RunModels, open_models, refuse_unfinished
from continual_df.errors import ConfigError, Interrupted
from continual_df.evaluation.open_world import attribution_scores
from continual_df.evaluation.open_world_results import attributed_images
from continual_df.evaluation.run_files import read_run
from continual_df.evaluation.semi_supervised_k_means import estimate_num_clusters, semi_supervised_k_means
from continual_df.stop_signals import StopSignals
from continual_df.task import Rows, once

SHOWN = {
    "known_acc": "known",
    "novel_acc": "novel",
    "known_acc_v2": "known v2",
    "novel_acc_v2": "novel v2",
    "all_acc": "all",
    "all_nmi": "NMI",
    "all_ari": "ARI",
}


def main(argv: list[str]) -> int:
    """Cluster the images of the run named in ``argv``, write RUN/clusters.json, and return 0."""
    parser = argparse.ArgumentParser(
        prog="continual-df cluster",
        description="Group the images of a run by the features of its model: semi-supervised k-means, in which labelled training "
        "images stay in the cluster of their class (Vaze et al., 2022, arXiv:2201.02609). Scored on the test images, with as "
        "many clusters as there are classes and with as many as the features suggest. Settings that a resumed run may change can "
        "stand behind, such as --trainer.accelerator cpu.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a run")
    parser.add_argument("--task", type=int, help="model after this task (default: the last)")
    parser.add_argument(
        "--largest", type=int, help="most clusters that an estimate may find (default: 4 x known classes)"
    )
    arguments, rest = parser.parse_known_args(argv)
    folder = refuse_unfinished(arguments.run, rest, "cluster", "clustered")
    last = folder.last_task()
    number = last if arguments.task is None else arguments.task
    if not 1 <= number <= last:
        raise ConfigError(f"--task is {number}: '{arguments.run}' has finished tasks 1 to {last}.")
    quieten()
    console = Console(highlight=False, soft_wrap=True)
    signals = StopSignals()
    try:
        with signals.handled():
            found = clusters(open_models(folder, rest, "clustered", signals, console), number, arguments.largest)
    except Interrupted as stop:
        console.print(f"Stopped by {signal.Signals(stop.signum).name}. Nothing was written.")
        return 128 + stop.signum
    folder.write_json("clusters.json", found)
    console.print(_table(found))
    console.print(f"written to {arguments.run / 'clusters.json'}")
    return 0


def clusters(models: RunModels, number: int, largest: int | None) -> dict[str, Any]:
    """Return the content of ``clusters.json``: what k-means makes of the features after task ``number``.

    The clusters are those of labelled and unlabelled training images of the tasks so far and of the test images; how many there
    are is estimated without test images. Test classes and the accuracies are those of ``open_world`` in ``results.json``.

    Raises:
        ConfigError: If ``largest`` leaves nothing to search.
    """
    stream, images = models.stream, attributed_images(read_run(models.folder.path), number)
    labelled = once(Rows.concat([stream.rows(index, "train") for index in range(number)]))
    unlabelled = once(Rows.concat([stream.rows(index, "unlabelled") for index in range(number)]))
    unlabelled = unlabelled.pick(~torch.isin(unlabelled.sample, labelled.sample))  # named since
    known_C = np.unique(labelled.method.numpy())
    num_train = labelled.num + unlabelled.num
    largest = min(4 * len(known_C), num_train) if largest is None else largest
    if not len(known_C) < largest <= num_train:
        raise ConfigError(
            f"--largest is {largest}: it must be above {len(known_C)}, the number of known classes, and at most {num_train}, "
            "that of training images."
        )
    sample = torch.cat([labelled.sample, unlabelled.sample, torch.from_numpy(images.sample_N)])
    nothing = torch.full_like(sample, -1)
    extract = models.extraction(models.method(number))
    feature_ND = extract(Rows(sample, nothing, nothing, nothing), ("features",))["features"].numpy()
    class_N = np.r_[labelled.method.numpy(), np.full(len(sample) - labelled.num, -1)]
    estimate = estimate_num_clusters(feature_ND[:num_train], class_N[:num_train], largest)
    num_classes, known = len(np.unique(images.true_N)), set(images.class_ids.values())
    groups = {}
    for name, num in (("classes", max(num_classes, len(known_C))), ("estimate", estimate.num_clusters)):
        cluster_M = semi_supervised_k_means(feature_ND, class_N, num).cluster_N[num_train:]
        # a cluster of a known class has its id, any other one that no class has
        head_M = np.where(
            cluster_M < len(known_C), known_C[cluster_M.clip(max=len(known_C) - 1)], len(images.ids) + cluster_M
        )
        scores = attribution_scores(images.true_N, head_M, known)
        groups[name] = {"num_clusters": num, "scores": {k: None if np.isnan(v) else v for k, v in scores.items()}}
    tried = {str(num): accuracy for num, accuracy in estimate.accuracies.items()}
    return {
        "task": number,
        "num_classes": num_classes,
        "num_images": len(images.sample_N),
        "accuracies": tried,
        **groups,
    }


def _table(found: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, caption_justify="left")
    table.add_column("K")
    for heading in ("", *SHOWN.values()):
        table.add_column(heading, justify="right")
    for name, title in (("classes", "of classes"), ("estimate", "estimated")):
        scores = found[name]["scores"]
        cells = ["-" if scores[key] is None else f"{scores[key]:.3f}" for key in SHOWN]
        table.add_row(title, str(found[name]["num_clusters"]), *cells)
    table.caption = f"{found['num_images']} test images of {found['num_classes']} classes, after task {found['task']}"
    return table
