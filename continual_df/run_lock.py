"""One process at a time writes a run folder."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from continual_df.errors import RunFolderError, WriteError

NAME = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` (made where missing); the system frees it when this process ends, however it ends.

    A POSIX record lock, not ``flock``: data workers, which are forked, do not inherit it and cannot outlive it.

    Raises:
        RunFolderError: If another process holds it.
        WriteError: If the folder cannot be made or written.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise WriteError(path, error) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise RunFolderError(
                    f"'{path}' cannot be locked ({error.strerror}): choose a --run_dir on a file system with POSIX locks."
                ) from error
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise RunFolderError(
                f"The run folder '{folder}' is being written by {owner}: wait for it, stop it, or choose another --run_dir."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def lock_owner(folder: Path) -> str | None:
    """Return which process holds the lock of ``folder``, None where none does; a look leaves nothing behind."""
    try:
        file = (folder / NAME).open("r")
    except OSError:  # there is none, or not for us
        return None
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # an exclusive one needs a file that is open for writing
        except OSError:
            return file.read().strip() or "another process"
    return None
