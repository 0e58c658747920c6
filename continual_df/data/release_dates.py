"""When each forgery method was released: ``release_dates.csv``, with a source for every date."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_suffix(".csv")


@cache
def release_dates() -> dict[str, str]:
    """Return the date of the first public release of every known method, by canonical name.

    ``YYYY-MM-DD``, or ``YYYY-MM`` where the day is not known; the empty string where no date is certain. A source that
    begins with ``arXiv:`` is the release itself, and its identifier gives year and month; other sources name code, a
    product or a paper in words. The file also names the data sets in which a method occurs.
    """
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row["method"]: row["date"] for row in csv.DictReader(file)}
