"""Checkpoints on disk: tensors and plain values, whole or not at all, with a checksum that is looked at."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from continual_df.errors import CheckpointError
from continual_df.files import remove, renamed

MARK = b"blake2b:"
SIZE = len(MARK) + 32
"""Bytes of the checksum: it is the comment with which a ZIP archive ends, so that torch.load reads the file as it is."""


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Lightning's way to files, through `save_checkpoint` and `load_checkpoint`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ANN401
        """Write ``checkpoint`` to ``path``."""
        if storage_options is not None:
            raise TypeError(f"storage_options is {storage_options!r}: a local file has none")
        save_checkpoint(checkpoint, Path(path))

    def remove_checkpoint(self, path: Any) -> None:  # noqa: ANN401
        """Remove ``path``, where it is there."""
        remove(Path(path))

    def load_checkpoint(
        self,
        path: Any,  # noqa: ANN401
        map_location: Any = None,  # noqa: ANN401
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read ``path``; whatever ``weights_only`` says, no pickle runs."""
        return load_checkpoint(Path(path))


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Write ``content`` to ``path``, ending in the BLAKE2b checksum of what comes before.

    Raises:
        WriteError: If the file system refuses.
    """
    with renamed(path) as partial, partial.open("w+b") as file:
        hashing = _Hashing(file)
        try:
            torch.save(content, hashing)  # type: ignore[arg-type]  # it needs write and flush only
        except RuntimeError:
            if hashing.error is not None:  # torch hides what the system said
                raise hashing.error from None
            raise
        comment = MARK + hashing.digest.hexdigest().encode()
        file.seek(-2, 2)  # the length of the archive's comment, 0 until now
        file.write(len(comment).to_bytes(2, "little") + comment)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of ``path``, on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, carries no checksum, or holds more than tensors and plain values.
    """
    verify_checkpoint(path)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' holds more than tensors and plain values, and loading it could run code: refused. Keep such state "
            "out of checkpoints (in a method: buffers and get_extra_state; in a callback: state_dict)."
        ) from error
    return content


def verify_checkpoint(path: Path) -> None:
    """Compare the checksum of ``path`` with its content.

    Raises:
        CheckpointError: If they differ, or there is no checksum, or no file that can be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read ({error.strerror or error}).") from error
    digest = _digest()
    with file:
        left = path.stat().st_size - SIZE - 2
        if left <= 0:
            raise _damaged(path)
        while left:
            chunk = file.read(min(left, 1 << 20))
            if not chunk:
                raise _damaged(path)
            left -= len(chunk)
            digest.update(chunk)
        digest.update(b"\0\0")
        comment = file.read()[2:]
    if not comment.startswith(MARK):
        raise CheckpointError(
            f"'{path}' does not end in a checksum: it is cut short, or was not written by this program."
        )
    if comment != MARK + digest.hexdigest().encode():
        raise _damaged(path)


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"'{path}' is damaged: its content does not fit its checksum.")


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


class _Hashing:
    """A file to write to that keeps the checksum of what passes, and the error of the system where there is one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, _digest()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write ``data``."""
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Hand on to the system."""
        try:
            self.file.flush()
        except OSError as error:
            self.error = error
            raise
