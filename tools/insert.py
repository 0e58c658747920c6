"""Put tables that 'continual-df compare' has written into a page, in place of those that stand there.

    python tools/insert.py docs/results.md nevis runs/nevis/tables/comparison.md

The page holds the lines ``<!-- nevis -->`` and ``<!-- /nevis -->``; what is between them is replaced by the tables without their title and
without the section that explains them, their headings one level lower.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

EXPLANATION = "## What the numbers are\n"
"""Heading of the last section of the tables, which a page with several of them would repeat."""


def insert(page: str, name: str, tables: str) -> str:
    """Return ``page`` with ``tables`` at the place ``name``.

    Raises:
        ValueError: If the page has no such place, or two of them.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(
            f"the page must hold the lines '{begin.strip()}' and '{end.strip()}', once each and in this order"
        )
    body = tables.partition("\n")[2].partition(EXPLANATION)[0]
    lower = re.sub(r"^#", "##", body.strip(), flags=re.MULTILINE)
    return f"{page.partition(begin)[0]}{begin}\n{lower}\n\n{end}{page.partition(end)[2]}"


if __name__ == "__main__":
    page, name, tables = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    page.write_text(
        insert(page.read_text(encoding="utf-8"), name, tables.read_text(encoding="utf-8")), encoding="utf-8"
    )
