"""Names of the classes that images are attributed to: a method, or a method within one source."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

BETWEEN = "@"
"""Between method and source: ``stylegan2@forgerynir``."""


def class_names(frame: pd.DataFrame, named: Iterable[str]) -> pd.Series:
    """Return the class of every row: ``method@source`` where ``named`` has that, else its method.

    Args:
        frame: Frame table.
        named: The names that a stream uses.
    """
    narrow = frame["method"].astype(str) + BETWEEN + frame["source"].astype(str)
    return narrow.where(narrow.isin(set(named)), frame["method"].astype(str))
