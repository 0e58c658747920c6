"""From the predictions of a run to its results: matrices, summaries, intervals.

``results.json`` is a pure function of the run's files; recomputing it gives the same bytes. NaN becomes null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.special import expit

from continual_df.errors import RunFolderError
from continual_df.evaluation import matrix as summaries
from continual_df.evaluation import metrics
from continual_df.evaluation.bootstrap import Interval, Part, bootstrap_interval, bootstrap_mean
from continual_df.evaluation.image_sets import ImageSet, is_control, method_sets, task_sets, validation_set
from continual_df.evaluation.open_world_results import open_world_results
from continual_df.evaluation.run_files import RunFiles, prediction_files, read_run
from continual_df.files import renamed
from continual_df.labels import REAL_METHOD

FRAME_METRICS = ("auc", "ap", "eer", "acc", "acc_val", "racc", "facc")
VIDEO_METRICS = ("auc_video", "ap_video", "eer_video", "acc_video")
DETECTION_METRICS = (*FRAME_METRICS, *VIDEO_METRICS)
METRICS = (*DETECTION_METRICS, "top1")

LOWER_IS_BETTER = ("eer", "eer_video")
"""Their forgetting, first_minus_last, bwt and fwt are those of the negated matrix: positive forgetting and negative
transfer mean "became worse" for every metric. Levels (average, average_incremental, plasticity, next_task) keep their sign."""

NUM_DRAWS = 1000
LEVEL = 0.95
SEED = 0


class Scores(NamedTuple):
    """What a row of the matrices is computed from: all (N,) over the frame table, NaN where not predicted."""

    logit: NDArray[np.float64]
    fake: NDArray[np.float64]
    threshold: float
    video: NDArray[np.int64]
    group: NDArray[np.object_]


class Row(NamedTuple):
    """What the predictions after one number of tasks give, whatever comes later.

    Attributes:
        threshold: See `Scores`.
        cells: (T,) by metric.
        lines: One value by metric and method.
        notes: Sentences on the row.
        missing: A sentence on each task, by its column, that lacks predictions.
    """

    threshold: float
    cells: dict[str, NDArray[np.float64]]
    lines: dict[str, dict[str, float]]
    notes: list[str]
    missing: dict[int, str]


Rows = dict[int, Row]
"""Rows by number."""


def evaluate_run(run: Path, num_draws: int = NUM_DRAWS, rows: Rows | None = None) -> dict[str, Any]:
    """Return the results of a run, finished or not, from its files alone.

    AUC, AP and EER rank by the logit, since probabilities saturate; ``acc``, ``racc`` and ``facc`` cut P(fake) at 0.5,
    ``acc_val`` at the threshold with the best balanced accuracy on the validation images of the tasks so far; the
    ``*_video`` metrics take the mean of P(fake) over a video. Images without a prediction are left out and counted in
    ``notes``; a cell without any is null. ``top1`` is the share of a task's test images whose largest class logit among the task's
    own classes (its methods, and real where it has reals) is the right one, as where the task is known; a cell is null where
    the method predicts no class logits, or has none yet for one of these classes.

    Args:
        run: The run folder.
        num_draws: Bootstrap draws for the intervals of the last row.
        rows: Rows of this very run that were evaluated before, which are not evaluated again; the others are added.

    Returns:
        ``schema``, ``stream`` (its name), ``measured`` (rows with predictions), ``has_videos`` (False where video
        metrics are those of single images), ``tasks``, ``matrices`` ((T + 1, T) lists by metric), ``summary`` (by
        metric, see `matrix`), ``methods`` (by metric, but ``top1``, and method one value per row), ``controls``, ``intervals``,
        ``thresholds`` (per row) and ``notes``; and ``open_world`` (see `open_world_results`) where the run has that.

    Raises:
        RunFolderError: If the folder is no run, or its files are broken or contradict each other.
    """
    files = read_run(run)
    tasks, methods = task_sets(files), method_sets(files)
    notes = _notes_on_sets(files, tasks, methods)
    num_rows = len(tasks) + 1
    cells = {metric: np.full((num_rows, len(tasks)), np.nan) for metric in METRICS}
    lines = {metric: {name: np.full(num_rows, np.nan) for name in methods} for metric in DETECTION_METRICS}
    thresholds = np.full(num_rows, np.nan)
    known, incomplete = {} if rows is None else rows, set[int]()
    for number in files.predictions:
        if number not in known:
            known[number] = _row(files, number, tasks, methods)
        row = known[number]
        thresholds[number] = row.threshold
        for metric in METRICS:
            cells[metric][number] = row.cells[metric]
        for metric, line in lines.items():
            for name in methods:
                line[name][number] = row.lines[metric][name]
        notes += row.notes
        notes += [note for column, note in row.missing.items() if column not in incomplete]
        incomplete |= set(row.missing)
    last = max(files.predictions)
    scores = _scores(files, last, thresholds[last])
    intervals, controls = _intervals(tasks, methods, scores, last, num_draws)
    for name in controls:
        controls[name]["auc"] = lines["auc"][name]
    result = {
        "schema": 1,
        "stream": files.stream.get("name", ""),
        "measured": list(files.predictions),
        "has_videos": len(np.unique(scores.video)) < len(scores.video),
        "tasks": [_describe(entry, test) for entry, test in zip(files.tasks, tasks, strict=True)],
        "matrices": cells,
        "summary": {metric: summarise(metric, cells[metric]) for metric in METRICS},
        "methods": lines,
        "controls": controls,
        "intervals": {"auc": intervals},
        "thresholds": thresholds,
        "notes": notes,
    }
    if (open_world := open_world_results(files)) is not None:
        result["open_world"] = open_world
    plain: dict[str, Any] = _plain(result)
    return plain


def write_results(run: Path, num_draws: int = NUM_DRAWS, rows: Rows | None = None) -> dict[str, Any]:
    """Evaluate ``run`` (see `evaluate_run`), write ``results.json`` under a temporary name, rename it, and return what was written.

    Raises:
        RunFolderError: See `evaluate_run`.
    """
    result = evaluate_run(run, num_draws, rows)
    with renamed(run / "results.json") as path:
        path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return result


def load_results(run: Path) -> dict[str, Any]:
    """Return ``results.json`` if it covers all predictions of ``run`` and all metrics, else evaluate the run anew.

    Raises:
        RunFolderError: If the run cannot be evaluated.
    """
    path = run / "results.json"
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunFolderError(f"{path}: not JSON ({error}). Run 'continual-df evaluate {run}'.") from None
        if (
            isinstance(stored, dict)
            and stored.get("measured") == list(prediction_files(run))
            and set(METRICS) <= set(stored.get("matrices", {}))
        ):
            return stored
    return evaluate_run(run)


def headline(results: Iterable[dict[str, Any]]) -> str:
    """Return the metric that is shown where one must do: ``top1`` if there are reals in no stream, so nothing to detect, else ``auc``."""
    return "auc" if any(task["num_real"] for result in results for task in result["tasks"]) else "top1"


def stream_title(result: dict[str, Any]) -> str:
    """Return the name of the stream, or its first and last task where it has none."""
    names = [str(task["name"]) for task in result["tasks"]]
    return str(result["stream"]) or (f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0])


def summarise(metric: str, matrix: NDArray[np.float64]) -> dict[str, float]:
    """Return the summaries of one matrix; for errors, see `LOWER_IS_BETTER`."""
    signed = -matrix if metric in LOWER_IS_BETTER else matrix
    return {
        "average": summaries.average_accuracy(matrix),
        "forgetting": summaries.forgetting(signed),
        "first_minus_last": summaries.first_minus_last(signed),
        "bwt": summaries.backward_transfer(signed),
        "fwt": summaries.forward_transfer(signed),
        "average_incremental": summaries.average_incremental(matrix),
        "plasticity": summaries.plasticity(matrix),
        "next_task": summaries.next_task(matrix),
    }


def _row(files: RunFiles, number: int, tasks: list[ImageSet], methods: dict[str, ImageSet]) -> Row:
    """Evaluate the predictions after ``number`` tasks."""
    notes: list[str] = []
    scores = _scores(files, number, np.nan)
    scores = scores._replace(threshold=_threshold(files, number, scores.fake, notes))
    measured: dict[bytes, dict[str, float]] = {}  # a task of one method is that method's set too
    for test in (*tasks, *methods.values()):
        if test.key not in measured:
            measured[test.key] = _measure(test, scores)
    cells = {metric: np.array([measured[test.key][metric] for test in tasks]) for metric in DETECTION_METRICS}
    lines = {
        metric: {name: measured[test.key][metric] for name, test in methods.items()} for metric in DETECTION_METRICS
    }
    sentences = {column: _count_missing(test, number, scores.logit) for column, test in enumerate(tasks)}
    missing = {column: sentence for column, sentence in sentences.items() if sentence is not None}
    return Row(scores.threshold, {**cells, "top1": _top1(files, number, tasks)}, lines, notes, missing)


def _scores(files: RunFiles, number: int, threshold: float) -> Scores:
    """Return the scores of the predictions after ``number`` tasks."""
    logit = files.logits(number)
    group = files.frame["group"].to_numpy(dtype=object)
    return Scores(logit, expit(logit), threshold, metrics.video_codes(files.frame), group)


def _measure(test: ImageSet, scores: Scores) -> dict[str, float]:
    """Return every metric on the images of ``test`` that have a prediction."""
    kept = ~np.isnan(scores.logit[test.sample])
    sample, label = test.sample[kept], test.label[kept]
    logit, fake = scores.logit[sample], scores.fake[sample]
    label_V, fake_V = metrics.mean_by(scores.video[sample], label, fake)
    known = not np.isnan(scores.threshold)
    # the arrays are checked already, and scikit-learn's own checks take most of the time on small sets
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        return {
            "auc": metrics.auc(label, logit),
            "ap": metrics.average_precision(label, logit),
            "eer": metrics.equal_error_rate(label, logit),
            "acc": metrics.accuracy(label, fake),
            "acc_val": metrics.accuracy(label, fake, scores.threshold) if known else float("nan"),
            "racc": metrics.real_accuracy(label, fake),
            "facc": metrics.fake_accuracy(label, fake),
            "auc_video": metrics.auc(label_V, fake_V),
            "ap_video": metrics.average_precision(label_V, fake_V),
            "eer_video": metrics.equal_error_rate(label_V, fake_V),
            "acc_video": metrics.accuracy(label_V, fake_V),
        }


def _top1(files: RunFiles, row: int, tasks: list[ImageSet]) -> NDArray[np.float64]:
    """Return (T,) the top-1 accuracy on every task's test images after ``row`` tasks, NaN where there are no logits for it."""
    found = np.full(len(tasks), np.nan)
    heads = files.head_logits(row)
    if heads is None:
        return found
    # later heads are those of clusters, or of classes that the method does not know yet; row 0 follows the first begin_task
    num_known = min(len(files.tasks[max(row, 1) - 1].get("class_ids", {})), heads.logit_MK.shape[1])
    place = np.full(len(files.frame), -1)
    place[heads.sample_M] = np.arange(len(heads.sample_M))
    for column, (entry, test) in enumerate(zip(files.tasks, tasks, strict=True)):
        names = [*entry["methods"], *([REAL_METHOD] if (test.label == 0).any() else [])]
        ids = {name: entry.get("class_ids", {}).get(name, num_known) for name in names}
        if max(ids.values()) < num_known:
            sample = test.sample[place[test.sample] >= 0]
            class_id = files.classes.iloc[sample].map(ids).to_numpy(dtype=np.int64)
            found[column] = metrics.top1(class_id, heads.logit_MK[place[sample]], list(ids.values()))
    return found


def _threshold(files: RunFiles, row: int, fake: NDArray[np.float64], notes: list[str]) -> float:
    """Return the threshold on P(fake) from the validation images of the first ``row`` tasks; NaN without both classes."""
    chosen = validation_set(files, row)
    kept = ~np.isnan(fake[chosen.sample])
    threshold = metrics.best_threshold(chosen.label[kept], fake[chosen.sample[kept]])
    if row > 0 and np.isnan(threshold):
        notes.append(f"after task {row}: no threshold, since the validation predictions lack reals or fakes")
    return threshold


def _intervals(
    tasks: list[ImageSet], methods: dict[str, ImageSet], scores: Scores, row: int, num_draws: int
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the AUC intervals of one row by task and method and of the average, and those of the controls."""

    def part(test: ImageSet) -> Part:
        sample, label = test.sample, test.label
        kept = ~np.isnan(scores.logit[sample])
        return Part(label[kept], scores.logit[sample[kept]], scores.group[sample[kept]])

    known: dict[bytes, Interval] = {}

    def interval(test: ImageSet) -> dict[str, Any]:
        if test.key not in known:
            known[test.key] = bootstrap_interval(*part(test), num=num_draws, seed=SEED, level=LEVEL)
        return known[test.key]._asdict()

    average = bootstrap_mean([part(test) for test in tasks[:row]], num=num_draws, seed=SEED, level=LEVEL)
    intervals = {
        "row": row,
        "level": LEVEL,
        "num": num_draws,
        "average": average._asdict(),
        "tasks": [interval(test) for test in tasks],
        "methods": {name: interval(test) for name, test in methods.items() if not is_control(name)},
    }
    controls = {name: {"interval": interval(test)} for name, test in methods.items() if is_control(name)}
    return intervals, controls


def _describe(entry: dict[str, Any], test: ImageSet) -> dict[str, Any]:
    """Return what tables and figures need to know of a task."""
    counts = {"num_real": int((test.label == 0).sum()), "num_fake": int((test.label == 1).sum())}
    return {"index": entry["index"], "name": entry["name"], "methods": entry["methods"], **counts}


def _notes_on_sets(files: RunFiles, tasks: list[ImageSet], methods: dict[str, ImageSet]) -> list[str]:
    """Return one sentence on everything that makes cells null in every row."""
    notes = []
    for test in tasks:
        if not metrics.has_both(test.label):
            lacking = "reals" if (test.label == 1).any() else "fakes" if (test.label == 0).any() else "images"
            notes.append(f"task '{test.name}': its test set has no {lacking}, so AUC, AP and EER are null")
    members = {name for entry in files.tasks for name in entry["methods"]}
    for name, test in methods.items():
        if name not in members and not metrics.has_both(test.label):
            notes.append(f"method '{name}': no real of its source or groups is in a test set, so its AUC is null")
    if max(files.predictions) < len(tasks):
        notes.append(f"{max(files.predictions)} of {len(tasks)} tasks are trained; 'last' is the last row measured")
    return notes


def _count_missing(test: ImageSet, row: int, logit: NDArray[np.float64]) -> str | None:
    """Return a sentence if some images of a task's test set have no prediction."""
    missing = int(np.isnan(logit[test.sample]).sum())
    if not missing or (row == 0 and missing == len(test.sample)):  # before training a method need not predict
        return None
    where = f"after task {row}" if row else "before training"
    return f"task '{test.name}': {missing} of {len(test.sample)} test images have no prediction {where}"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any nesting of what JSON can hold
    """Return ``value`` as JSON types, NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return value
