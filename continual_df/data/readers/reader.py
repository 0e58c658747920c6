"""What every reader is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from continual_df.data.file_names import is_file, is_folder
from continual_df.data.frame_table import FrameTable
from continual_df.errors import DatasetNotFoundError


class Reader(ABC):
    """A data set on disk that can be read into a frame table.

    Subclasses are frozen dataclasses: their fields are what stands under ``init_args`` in a YAML file. Paths are
    relative to the current directory.
    """

    @abstractmethod
    def read(self) -> FrameTable:
        """Return the data set's frame table.

        Raises:
            DatasetNotFoundError: If the root or an index file does not exist.
            FrameTableError: If the data set's description is wrong.
        """


def existing_folder(root: str, what: str) -> Path:
    """Return ``root`` as a path, or say that the folder of ``what`` is missing."""
    folder = home_path(root)
    if not is_folder(folder):
        raise DatasetNotFoundError(
            f"The root folder of {what}", root or "''", "Set 'root' to the folder of the images."
        )
    return folder


def existing_file(path: str, what: str, key: str) -> Path:
    """Return ``path`` as a path, or say that the file of ``what``, named under ``key``, is missing."""
    file = home_path(path)
    if not is_file(file):
        raise DatasetNotFoundError(what, path, f"Correct '{key}'; paths are relative to the current directory.")
    return file


def home_path(path: str) -> Path:
    """Return ``path`` with ``~`` spelt out, where there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
