"""Hands a SLURM job back to its queue between two batches, through Lightning's own handler."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Trainer

from continual_df.files import remove
from continual_df.ranks import is_writer


class Requeue:
    """Keeps the signal by which SLURM wants its machine back until a batch has ended.

    Lightning's handler saves and requeues in the middle of whatever runs (what it saves there cannot be continued exactly),
    and only while a Trainer works: before, between and after, the signal would end the process.

    Args:
        environment: The SLURM environment; None outside of one.

    Attributes:
        asked: Whether the signal has come.
    """

    def __init__(self, environment: SLURMEnvironment | None) -> None:
        self.asked = False
        self.number = environment.requeue_signal if environment and environment.auto_requeue else None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Keep the signal inside; Lightning leaves one alone that is handled already."""
        if self.number is None:
            yield
            return
        before = signal.signal(self.number, self._note)
        try:
            yield
        finally:
            signal.signal(self.number, before)

    def run(self, trainer: Trainer) -> None:
        """Do what Lightning's handler does, but keep no checkpoint of its own."""
        self.asked = False
        assert self.number is not None
        trainer._signal_connector._slurm_sigusr_handler_fn(self.number, None)  # type: ignore[arg-type]  # no frame
        if is_writer():
            remove_leftovers(Path(trainer.default_root_dir))

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def remove_leftovers(folder: Path) -> None:
    """Remove the checkpoints that Lightning's handler has left in ``folder``.

    On a cluster, Lightning would load one in every later fit and prediction that names none.
    """
    for path in folder.glob("hpc_ckpt_*.ckpt"):
        remove(path)
