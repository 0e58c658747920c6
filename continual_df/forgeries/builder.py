"""Build a data set of forgeries from real faces, on disk, in DeepfakeBench's layout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from continual_df.data.frame_table import FrameTable, Skipped, write_table
from continual_df.errors import ConfigError, UnreadableImageError
from continual_df.forgeries.geometry import CANONICAL, FaceGeometry
from continual_df.forgeries.index import Made, frame_path, mask_path, write_index
from continual_df.forgeries.lastmile import LastMile, deliver, resize
from continual_df.forgeries.operator import FittedOperator, Image, Operator, Scene
from continual_df.forgeries.operators import select
from continual_df.forgeries.plan import choose_donor, split_identities
from continual_df.forgeries.processes import Run, processes
from continual_df.forgeries.reals import Real
from continual_df.forgeries.seeding import generator
from continual_df.labels import REAL_METHOD

CHUNK = 16
"""Faces a process handles at a time."""
FIT_AT_MOST = 600
"""Training reals that an operator is fitted on."""
WORKING = ".working"


@dataclass(frozen=True)
class _Settings:
    """What every process needs to know."""

    folder: Path
    working_size: int
    lastmile: LastMile
    geometry: FaceGeometry
    seed: int

    def working_file(self, photo: str) -> Path:
        return self.folder / WORKING / f"{photo}.npy"


@dataclass(frozen=True)
class _Prepared:
    """A real that was read and written; or why it was not."""

    photo: str
    thumbnail: Image | None
    reason: str = ""


@dataclass(frozen=True)
class _Job:
    """One operator on some faces: (target, donor or '')."""

    operator: Operator
    pairs: list[tuple[str, str]]
    settings: _Settings


def forge(
    reals: Sequence[Real],
    methods: Sequence[str],
    out: Path,
    *,
    size: int = 128,
    seed: int = 0,
    workers: int = 1,
    working_size: int | None = None,
    quality: tuple[int, int] = (75, 95),
    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25),
    geometry: FaceGeometry = CANONICAL,
    source: str = "photos",
    max_unreadable: float = 0.05,
    progress: bool = False,
) -> FrameTable:
    """Write reals and one forgery of each real by each method; return the frame table, which is written too.

    The folder holds ``frames/<method>/<photo>/000.jpg``, ``masks/<method>/<photo>/000.png``, ``<method>.json`` and
    ``table.parquet``. It is built beside ``out`` and renamed when complete. The same reals, methods, size and seed give the same
    bytes for any number of workers. More than one worker starts processes: guard a script with ``__name__``.

    Args:
        reals: Photos with unique names; photos of one person share the identity.
        methods: Names of operators.
        out: Folder to make.
        size: Side of the written images in pixels, at least 32.
        seed: Of splits, donors, operators and last mile.
        workers: Processes.
        working_size: Side at which faces are forged; ``size`` by default, so that fine traces survive.
        quality: Lowest and highest JPEG quality.
        fractions: Shares of identities in train, val and test.
        geometry: The five points of these crops.
        source: Name of the domain, for the frame table.
        max_unreadable: Share of unreadable photos above which nothing is built.
        progress: Show a bar.

    Raises:
        ConfigError: If a method is unknown, ``out`` is in use, a number is out of range, or too few people are given.
        UnreadableImageError: If more than ``max_unreadable`` of the photos cannot be read.
    """
    operators = select(list(methods))
    working_size = working_size or size
    if min(size, working_size) < 32:
        raise ConfigError(f"Faces need at least 32 pixels, got size {size} and working size {working_size}.")
    if not 1 <= quality[0] <= quality[1] <= 100:
        raise ConfigError(f"JPEG quality goes from 1 to 100, lowest first, got {quality[0]}-{quality[1]}.")
    if workers < 1:
        raise ConfigError(f"At least one worker is needed, got {workers}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"'{out}' exists and is not empty. Name another folder, or remove it first.")
    names = [real.photo for real in reals]
    if len(set(names)) < len(names):
        raise ConfigError("Two photos have the same name. Give each its own.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.with_name(f".{out.name}.partial-{os.getpid()}")
    settings = _Settings(folder, working_size, LastMile(size, quality), geometry, seed)
    bar = Progress(
        TextColumn("{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        disable=not progress,
    )
    try:
        (folder / WORKING).mkdir(parents=True)
        with bar, processes(workers) as run:
            table = _build(reals, operators, settings, fractions, source, max_unreadable, run, bar)
        shutil.rmtree(folder / WORKING)
        if out.exists():
            out.rmdir()
        folder.replace(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table.root = out
    write_table(table, out / "table.parquet")  # it stores its root, which is known now
    return table


def _build(
    reals: Sequence[Real],
    operators: list[Operator],
    settings: _Settings,
    fractions: tuple[float, float, float],
    source: str,
    max_unreadable: float,
    run: Run,
    bar: Progress,
) -> FrameTable:
    """Write everything into ``settings.folder``."""
    task = bar.add_task("reading reals", total=len(reals))
    prepared: dict[str, _Prepared] = {}
    for batch in run(_prepare, [(reals[i : i + CHUNK], settings) for i in range(0, len(reals), CHUNK)]):
        prepared.update({item.photo: item for item in batch})
        bar.update(task, advance=len(batch))
    skipped = [Skipped(real.origin, prepared[real.photo].reason) for real in reals if prepared[real.photo].reason]
    if len(skipped) > max_unreadable * len(reals):
        raise UnreadableImageError(
            f"{len(skipped)} of {len(reals)} photos cannot be read (allowed share {max_unreadable:g}), the first: "
            f"{skipped[0].reason}. Repair or remove them, or raise --max-unreadable."
        )
    reals = [real for real in reals if not prepared[real.photo].reason]
    split_of = split_identities([real.identity for real in reals], fractions, settings.seed)
    split = np.array([split_of[real.identity] for real in reals])
    written = [
        Made(real.photo, REAL_METHOD, None, real.identity, split_of[real.identity], _meta(settings, real.photo))
        for real in reals
    ]
    train = [real.photo for real, part in zip(reals, split, strict=True) if part == "train"]
    operators = _fit(operators, train, settings, run, bar)
    jobs, donors = _plan(operators, reals, split, prepared, settings)
    task = bar.add_task("forging", total=len(operators) * len(reals))
    params: dict[tuple[str, str], dict[str, Any]] = {}
    for done in run(_forge_some, jobs):
        params.update(done)
        bar.update(task, advance=len(done))
    fakes = []
    for operator in operators:
        for real in reals:
            donor = donors.get((operator.name, real.photo))
            meta = {
                **_meta(settings, real.photo),
                "operator": operator.name,
                "params": params[operator.name, real.photo],
            }
            if donor is not None:
                meta["donor"] = donor.photo
            people = real.identity if donor is None else f"{real.identity}|{donor.identity}"
            fakes.append(Made(real.photo, operator.name, operator.family, people, split_of[real.identity], meta))
    return write_index(settings.folder, written, fakes, skipped, source)


def _meta(settings: _Settings, photo: str) -> dict[str, Any]:
    """Return what a photo and all that is made from it have in common."""
    delivery = settings.lastmile.draw(settings.seed, photo)
    return {"seed": settings.seed, "working_size": settings.working_size, "delivery": asdict(delivery)}


def _prepare(job: tuple[Sequence[Real], _Settings]) -> list[_Prepared]:
    """Read reals, keep each as a working-size square, and write it through the last mile."""
    reals, settings = job
    done = []
    for real in reals:
        try:
            photo = real.load()
        except UnreadableImageError as error:
            done.append(_Prepared(real.photo, None, str(error)))
            continue
        side = min(photo.shape[:2])
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        face = resize(np.ascontiguousarray(photo[top : top + side, left : left + side]), settings.working_size)
        np.save(settings.working_file(real.photo), face)
        _write(settings, REAL_METHOD, real.photo, face)
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
        done.append(_Prepared(real.photo, np.asarray(cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA))))
    return done


def _write(settings: _Settings, method: str, photo: str, image: Image) -> None:
    """Write ``image`` through the last mile of ``photo``; grey if it is."""
    grey = bool((image == image[..., :1]).all())
    path = settings.folder / frame_path(method, photo)
    path.parent.mkdir(parents=True)
    path.write_bytes(deliver(image, settings.lastmile.draw(settings.seed, photo), grey=grey))


def _fit(operators: list[Operator], train: list[str], settings: _Settings, run: Run, bar: Progress) -> list[Operator]:
    """Return the operators, those that learn from reals fitted on the training split."""
    order = generator(settings.seed, "fit").permutation(len(train))[:FIT_AT_MOST]
    chosen = [train[index] for index in sorted(order)]
    jobs = [(operator, chosen, settings) for operator in operators if isinstance(operator, FittedOperator)]
    if not jobs:
        return operators
    if not chosen:
        raise ConfigError(f"'{jobs[0][0].name}' learns from training reals, and the split 'train' is empty.")
    task = bar.add_task("fitting", total=len(jobs))
    fitted = {}
    for operator in run(_fit_one, jobs):
        fitted[operator.name] = operator
        bar.update(task, advance=1)
    return [fitted.get(operator.name, operator) for operator in operators]


def _fit_one(job: tuple[FittedOperator, list[str], _Settings]) -> FittedOperator:
    operator, photos, settings = job
    reals = np.stack([np.load(settings.working_file(photo)) for photo in photos])
    operator.fit(reals, int(generator(settings.seed, "fit", operator.name).integers(2**31)))
    return operator


def _plan(
    operators: list[Operator],
    reals: Sequence[Real],
    split: np.ndarray[Any, np.dtype[np.str_]],
    prepared: dict[str, _Prepared],
    settings: _Settings,
) -> tuple[list[_Job], dict[tuple[str, str], Real]]:
    """Return the jobs, and the donor by (method, photo)."""
    identity = np.array([real.identity for real in reals])
    thumbnails = np.array([prepared[real.photo].thumbnail for real in reals], np.float32).reshape(len(reals), -1)
    thumbnails -= thumbnails.mean(1, keepdims=True)
    donors: dict[tuple[str, str], Real] = {}
    jobs = []
    for operator in operators:
        if operator.needs_donor:
            for row, real in enumerate(reals):
                rng = generator(settings.seed, "donor", operator.name, real.photo)
                donors[operator.name, real.photo] = reals[choose_donor(row, identity, split, thumbnails, rng)]
        pairs = [
            (real.photo, donors[operator.name, real.photo].photo if operator.needs_donor else "") for real in reals
        ]
        jobs += [_Job(operator, pairs[i : i + CHUNK], settings) for i in range(0, len(pairs), CHUNK)]
    return jobs, donors


def _forge_some(job: _Job) -> dict[tuple[str, str], dict[str, Any]]:
    """Forge, write images and masks, and return the drawn parameters by (method, photo)."""
    settings, operator = job.settings, job.operator
    params = {}
    for photo, donor_photo in job.pairs:
        face: Image = np.load(settings.working_file(photo))
        donor: Image | None = np.load(settings.working_file(donor_photo)) if donor_photo else None
        grey = bool((face == face[..., :1]).all())
        if grey and donor is not None:
            donor = _as_grey(donor)
        scene = Scene(settings.geometry, donor)
        forgery = operator(face, scene, generator(settings.seed, operator.name, photo))
        _write(settings, operator.name, photo, _as_grey(forgery.image) if grey else forgery.image)
        if operator.family != "control":
            size = settings.lastmile.size
            mask = cv2.resize(forgery.mask, (size, size), interpolation=cv2.INTER_AREA)
            path = settings.folder / mask_path(operator.name, photo)
            path.parent.mkdir(parents=True)
            done, data = cv2.imencode(".png", np.where(mask > 0, 255, 0).astype(np.uint8))
            if not done:
                raise ValueError(f"opencv could not encode the mask of {photo} as PNG")
            path.write_bytes(bytes(data))
        params[operator.name, photo] = forgery.params
    return params


def _as_grey(image: Image) -> Image:
    """Return the luminance of ``image`` in three equal channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
