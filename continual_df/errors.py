"""The exceptions that a caller, or a user at the command line, can act on.

Each message is a sentence that names the value, where it came from and what to do. The command line prints it
without a traceback and exits with status 2.
"""

from __future__ import annotations

from pathlib import Path


class ContinualDFError(Exception):
    """Something that the user can put right; the base of all errors below."""


class ConfigError(ContinualDFError):
    """A setting (YAML key, flag, extra) that is wrong or missing."""


class FrameTableError(ContinualDFError):
    """A data set description that cannot become a frame table.

    Args:
        problem: What is wrong, with the offending value.
        file: The file in which it stands.
        row: Row (from 0) or key path inside the file, where there is one.
        column: Column or key, where there is one.
        fix: What the user can do about it.
    """

    def __init__(
        self, problem: str, *, file: Path | str, row: int | str | None = None, column: str | None = None, fix: str
    ) -> None:
        place = ", ".join(
            [str(file)]
            + ([f"row {row}"] if row is not None else [])
            + ([f"column '{column}'"] if column is not None else [])
        )
        super().__init__(f"{place}: {problem}. {fix}")
        self.file, self.row, self.column = file, row, column


class DatasetNotFoundError(ContinualDFError):
    """A data set whose root or index file does not exist.

    Args:
        what: Name of the data set.
        path: Where it was looked for.
        fix: How to obtain or name it.
    """

    def __init__(self, what: str, path: Path | str, fix: str) -> None:
        super().__init__(f"{what} was not found at '{path}'. {fix}")


class StreamError(ContinualDFError):
    """A stream that the frame table cannot fill: unknown method, empty split, impossible size."""


class UnreadableImageError(ContinualDFError):
    """An image file that cannot be decoded."""


class RunFolderError(ContinualDFError):
    """A run folder that exists already, is incomplete, or is none."""


class EmptyPrototypeError(ContinualDFError):
    """A search among prototypes of which there are none."""


class NonFiniteLossError(ContinualDFError):
    """A loss that became NaN or infinite; says task, step and sample rows."""


class WriteError(ContinualDFError):
    """A file that cannot be written: the disk is full, read-only, or not ours.

    Args:
        path: The file.
        reason: What the system said.
    """

    def __init__(self, path: Path, reason: Exception) -> None:
        why = getattr(reason, "strerror", None) or str(reason)
        super().__init__(
            f"'{path}' could not be written ({why}); what was there before is left as it was. Make room, or allow "
            "writing, and start again: a run that has begun, with 'continual-df run --resume'."
        )


class CheckpointError(ContinualDFError):
    """A checkpoint that is damaged, or none of ours."""


class TrainingError(ContinualDFError):
    """Something that broke in the middle of training; says task, step and sample rows."""


class LeakError(ContinualDFError):
    """A search that reads what it must not see: images of other tasks, or a test set."""


class Interrupted(BaseException):
    """A run was asked to stop by a signal; no Exception, so that nothing in between takes it for a failure.

    Args:
        signum: The signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
