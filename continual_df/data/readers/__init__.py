"""Readers: a data set on disk becomes a frame table."""

from continual_df.data.readers.class_folders import ClassFolders
from continual_df.data.readers.deepfakebench import DeepfakeBench
from continual_df.data.readers.folder_tree import FolderTree
from continual_df.data.readers.forgerynet import ForgeryNet
from continual_df.data.readers.ow_dfa import OwDfa
from continual_df.data.readers.path_list import PathList
from continual_df.data.readers.reader import Reader
from continual_df.data.readers.table_file import TableFile

__all__ = ["ClassFolders", "DeepfakeBench", "FolderTree", "ForgeryNet", "OwDfa", "PathList", "Reader", "TableFile"]
