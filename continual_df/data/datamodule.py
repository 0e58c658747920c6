"""The datamodule: realises the stream and executes what the method asks for; no method touches a loader."""

from __future__ import annotations

import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from continual_df.data.dataset import DrawDataset, RowDataset
from continual_df.data.frame_table import DEV_TEST, concat_tables
from continual_df.data.images import CachedImages, ImageSource, TableImages, drop_unreadable, refuse_sizes
from continual_df.data.own_scores import own_scores
from continual_df.data.pixels import Channels
from continual_df.data.readers import Reader
from continual_df.data.readers.reader import home_path
from continual_df.data.sampler import PlanBatchSampler, Source
from continual_df.data.stream import RealDomain, RealPolicy, Stream, TaskSpec, build_stream
from continual_df.data.table_digest import refuse_other_table
from continual_df.data.table_splits import SplitSettings, make_splits
from continual_df.data.task_order import Named, TaskOrder, arrange, check_order
from continual_df.data.verify import ChangedFiles, verify_files
from continual_df.errors import ConfigError, LeakError, StreamError
from continual_df.ranks import rank_and_size
from continual_df.task import Rows


class StreamDataModule(pl.LightningDataModule):
    """Loaders over a realised stream; a subclass says where the stream and the pixels come from.

    Args:
        image_size: Side of the square that images are resized to; None keeps their size.
        augment: torchvision v2 transforms for training images; by default a horizontal flip.
        second_view: torchvision v2 transforms of a second view of each training image, for methods that compare two.
        eval_batch_size: Images a batch in validation and prediction (over all processes).
        num_workers: Worker processes of each loader; results do not depend on it.
        seed: Seed of sampling and augmentation; the command line links it to ``seed_everything``.
    """

    def __init__(
        self,
        image_size: int | None = None,
        augment: list[nn.Module] | None = None,
        second_view: list[nn.Module] | None = None,
        eval_batch_size: int = 128,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.augment: Sequence[nn.Module] = [v2.RandomHorizontalFlip()] if augment is None else augment
        self.second_view = second_view
        self.eval_batch_size, self.num_workers, self.seed = eval_batch_size, num_workers, seed
        self._stream: Stream | None = None
        self._plan: list[Source] = []
        self._task = 0
        self._validation: Rows | None = None
        self._allowed: Tensor | None = None

    @abstractmethod
    def build(self) -> tuple[Stream, ImageSource]:
        """Return the realised stream and its pixels."""

    @property
    def stream(self) -> Stream:
        """The realised stream, built at the first call."""
        if self._stream is None:
            self._stream, self.images = self.build()
        return self._stream

    def benchmark(self) -> Any:  # noqa: ANN401  a CLScenario; jsonargparse would import it to know, in every run
        """Return the stream as an Avalanche benchmark (``CLScenario``), on which any of its strategies trains as it is.

        Its streams are ``train``, ``val``, ``test`` and, where a task has unlabelled images, ``unlabelled``. An item is
        ``(image, label, sample, method, task)``: image (C, H, W) float32 in [0, 1] at ``image_size`` and without
        augmentation, label 0 real, 1 fake, -1 unknown; ``task`` is Avalanche's task label.
        """
        from continual_df.data.benchmark import to_benchmark

        return to_benchmark(self.stream, self.images, self.image_size)

    def begin_task(self, task: int, plan: list[Source], validation: Rows | None = None) -> None:
        """Make the next fit train on ``plan`` and validate on ``validation``, by default the task's own validation split."""
        self._task, self._plan, self._validation = task, plan, validation

    @contextmanager
    def confined(self, samples: Tensor) -> Iterator[None]:
        """Refuse, inside, every loader that would read other images than ``samples``."""
        self._allowed = samples
        try:
            yield
        finally:
            self._allowed = None

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the current task's plan, from where a checkpoint left it.

        Raises:
            LeakError: If it would read images that `confined` leaves out.
        """
        for source in self._plan:
            self._refuse_others(source.rows)
        rank, world_size = rank_and_size()
        epoch, start = self._position()
        sampler = PlanBatchSampler(self._plan, self.seed, self._task, rank, world_size, epoch=epoch, start=start)
        images, groups = self.images, self.stream.group_N
        dataset = DrawDataset(images, self.image_size, self.augment, self.seed, self._task, self.second_view, groups)
        return DataLoader(dataset, batch_sampler=sampler, **self._loader_options())

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the rows that `begin_task` named."""
        rows = self.stream.rows(self._task, "val") if self._validation is None else self._validation
        return self.rows_dataloader(rows)

    def rows_dataloader(self, rows: Rows) -> DataLoader[Any]:
        """Return a loader of ``rows`` in order, without augmentation; each process gets its share.

        Raises:
            LeakError: If it would read images that `confined` leaves out.
        """
        self._refuse_others(rows)
        rank, world_size = rank_and_size()
        per_process = max(1, self.eval_batch_size // world_size)
        own = torch.arange(rows.num)[rank::world_size]
        most = -(-rows.num // world_size)
        place = own
        if -(-most // per_process) > -(-len(own) // per_process):  # one more row, or others would step alone
            place = torch.cat([own, torch.tensor([rank % rows.num])])
        dataset = RowDataset(DrawDataset(self.images, self.image_size), rows.pick(place), len(own))
        return DataLoader(dataset, batch_size=per_process, **self._loader_options())

    def _refuse_others(self, rows: Rows) -> None:
        """Refuse rows that `confined` leaves out."""
        if self._allowed is None:
            return
        others = rows.pick(torch.nonzero(~torch.isin(rows.sample, self._allowed)).squeeze(1))
        if others.num:
            tasks = sorted({self.stream.tasks[task].number for task in others.task.tolist() if task >= 0})
            raise LeakError(
                f"A trial of task {self._task + 1} would read {others.num} images of task(s) {tasks or 'none'} that its method has "
                "not kept in a memory: no choice in a task may depend on them. Search with another method, or set search.trials to 0."
            )

    def _position(self) -> tuple[int, int]:
        """Return the epoch and the batch with which the Trainer begins; workers draw before it could set the epoch."""
        if self.trainer is None:
            return 0, 0
        loop = self.trainer.fit_loop
        done = loop.epoch_loop.batch_progress.current.completed if loop.restarting else 0
        return self.trainer.current_epoch, done

    def _loader_options(self) -> dict[str, Any]:
        pin_memory = torch.cuda.is_available()
        return {"num_workers": self.num_workers, "pin_memory": pin_memory, "worker_init_fn": _leave_signals}


class ForgeryStream(StreamDataModule):
    """A stream of forgery methods from data sets on disk.

    Args:
        tables: Readers of the data sets.
        tasks: Tasks, each labelling some methods; a task may come again.
        order: Order of the tasks: ``given``, as they are listed, or what `TaskOrder` says, e.g. ``{by: date}``; ``date`` and
            ``family`` are short for it.
        name: Name of the stream in figures.
        reals: ``reuse``: every task sees all reals of its own sources; ``split``: each real image is in one task only;
            ``none``: no reals at all, to attribute fakes alone.
        real_domain: ``task``: the reals of each task are a domain of their own; ``shared``: there is one real domain;
            ``source``: tasks of the same sources share one.
        held_out: Methods for testing only (open-world tests, controls).
        max_images: Largest number of images of each class in a task, by split, e.g. ``{train: 500}``.
        counts: Images that the tables must hold of each of these classes; a run on others is refused.
        fractions: Shares of train, val and test by group for sources that have no splits (or are in ``resplit``).
        resplit: Ignore the splits of all sources, or of the sources in this list.
        val_fraction: Share of the training groups that becomes validation, in place of the tables' own val splits: their
            images are then in no split at all, since some benchmarks' val repeats their test.
        dev_test_fraction: Share of the training groups left by ``val_fraction`` that becomes dev_test, of sources whose
            tables have no dev_test split; they are trained on neither way, so both ``evaluate_on`` train on the same images.
        evaluate_on: ``test``; or ``dev_test``, to compare methods and settings before the last test: what is called test
            everywhere (predictions, results, ``max_images``) is then dev_test, and no image of the test split is read.
        split_by: ``group``: what belongs together stays in one split; ``image``: each image for itself, as some benchmarks
            publish their numbers, with frames of one video on both sides: such numbers are too good.
        link_identities: Whether groups that share an identity stay in one split when splits are made. Where swaps link
            all people to each other (Celeb-DF, DFD), only ``false`` leaves anything to split.
        reveal_unlabelled: Let unlabelled images carry their label, for an upper bound.
        split_seed: Seed of splits, sub-samples and missing labels; apart from ``seed``, so that seeds share their data.
        channels: 3 for RGB, 1 for grey.
        check_images: Decode every image once before training, so that none fails in mid-run.
        cache_images: Keep each image in memory once it is decoded, 3 bytes a pixel as it is stored (or 1): for small images and a
            fast detector, and for ``num_workers`` 0, since a worker's memory goes with it.
        max_unreadable: Largest share of unreadable images that is left out (counted and listed) before the run stops.
        changed_files: Where the tables hold hashes, every file is read and compared before training: ``refuse`` the run
            if one changed, ``warn`` and train on the files as they are, or ``ignore``: compare nothing.
        hash_files: Store the hash of every file in the run's frames.parquet, whether or not the tables hold some.
        table_digest: Digest of the tables that ``continual-df data check`` printed; others are refused.
        **kwargs: Those of `StreamDataModule`.
    """

    def __init__(
        self,
        tables: list[Reader],
        tasks: list[TaskSpec],
        order: TaskOrder | str = "given",
        name: str = "",
        reals: RealPolicy = "reuse",
        real_domain: RealDomain = "task",
        held_out: list[str] | None = None,
        max_images: dict[str, int] | None = None,
        counts: dict[str, int] | None = None,
        fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
        resplit: bool | list[str] = False,
        val_fraction: float = 0.0,
        dev_test_fraction: float = 0.0,
        evaluate_on: Literal["test", "dev_test"] = "test",
        split_by: Literal["group", "image"] = "group",
        link_identities: bool = True,
        reveal_unlabelled: bool = False,
        split_seed: int = 0,
        channels: Channels = 3,
        check_images: bool = True,
        cache_images: bool = False,
        max_unreadable: float = 0.01,
        changed_files: ChangedFiles = "refuse",
        hash_files: bool = False,
        table_digest: str | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if cache_images and self.num_workers:
            raise ConfigError(
                f"cache_images keeps images in the process that trains, but num_workers is {self.num_workers}, and workers decode "
                "for themselves: set data.init_args.num_workers to 0, or cache_images to false."
            )
        self.stream_name = name
        self.tables, self.tasks, self.reals, self.real_domain = tables, tasks, reals, real_domain
        self.order, self.evaluate_on, self.split_seed = check_order(order), evaluate_on, split_seed
        self.held_out, self.max_images, self.counts = held_out, max_images, counts
        by_image = split_by == "image"
        self.splits = SplitSettings(
            fractions, resplit, val_fraction, dev_test_fraction, by_image, link_identities, split_seed
        )
        self.reveal_unlabelled = reveal_unlabelled
        self.channels, self.check_images, self.max_unreadable = channels, check_images, max_unreadable
        self.cache_images = cache_images
        self.changed_files, self.hash_files, self.table_digest = changed_files, hash_files, table_digest

    def build(self) -> tuple[Stream, ImageSource]:
        """Read the tables, split them where needed, and realise the stream."""
        table = concat_tables([reader.read() for reader in self.tables])
        if self.table_digest is not None:
            refuse_other_table(table, self.table_digest)
        if len(table) == 0:
            raise StreamError(
                "The tables of data.init_args.tables hold no image: run 'continual-df data check' on them."
            )
        table.frame["split"] = make_splits(table.frame, self.splits)
        read = table.frame["split"] != ("test" if self.evaluate_on == DEV_TEST else DEV_TEST)
        # before unreadable images are left out: one that was spoilt on purpose must not vanish among them
        table = verify_files(table, self.changed_files, self.hash_files, rows=read)
        if self.check_images:
            table, sizes = drop_unreadable(table, self.max_unreadable, read)
            if self.image_size is None:
                refuse_sizes(table, sizes)
        specs, order = self._ordered()
        stream = build_stream(
            table,
            specs,
            reals=self.reals,
            real_domain=self.real_domain,
            held_out=self.held_out,
            max_images=self.max_images,
            counts=self.counts,
            reveal=self.reveal_unlabelled,
            seed=self.split_seed,
            evaluate_on=self.evaluate_on,
        )
        stream.name, stream.order = self.stream_name, order
        images = TableImages(table, self.channels)
        return stream, CachedImages(images) if self.cache_images else images

    def _ordered(self) -> tuple[list[TaskSpec], dict[str, Any]]:
        """Return the tasks in the order that is asked for, and what it came from, for ``stream.json``."""
        order = self.order
        tasks = [Named(spec.name or "+".join(spec.methods), tuple(spec.methods)) for spec in self.tasks]
        found = arrange(order, tasks, own_scores(home_path(order.run)) if order.run is not None else ())
        dates = {} if found.dates is None else {"task_dates": found.dates}
        return [self.tasks[place] for place in found.positions], {**order.describe(), "given": found.positions, **dates}


class BenchmarkStream(StreamDataModule):
    """Any Avalanche benchmark of images: target 0 is real, target c is the method ``class_c``.

    Images pass through the benchmark's evaluation transforms; ``augment`` comes after them, while training.

    Args:
        benchmark: Function that returns the benchmark, by import path (``my_module.my_benchmark``), or ``class_path`` and
            ``init_args`` of a class whose instances do when called; its streams ``train`` and ``test`` are read, and
            ``val`` where there is one.
        val_fraction: Share of the training samples that becomes validation where the benchmark has no ``val`` stream,
            in [0, 1).
        **kwargs: Those of `StreamDataModule`.
    """

    def __init__(
        self,
        benchmark: Callable[[], Any],
        val_fraction: float = 0.1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= val_fraction < 1:
            raise ValueError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
        self.make_benchmark, self.val_fraction = benchmark, val_fraction

    def build(self) -> tuple[Stream, ImageSource]:
        """Read the benchmark's streams."""
        from continual_df.data.benchmark import read_benchmark

        return read_benchmark(self.make_benchmark(), self.val_fraction, self.seed)


def _leave_signals(worker: int) -> None:
    """Let a worker go on when a terminal or queue tells all processes to stop: the one that trains decides when."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
