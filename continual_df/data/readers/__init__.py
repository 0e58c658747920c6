"""Readers: a data set on disk becomes a frame table."""

from continual_df.data.readers.deepfakebench import DeepfakeBench
from continual_df.data.readers.reader import Reader
from continual_df.data.readers.table_file import TableFile

__all__ = ["DeepfakeBench", "Reader", "TableFile"]
