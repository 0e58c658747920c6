from __future__ import annotations

import runpy
from pathlib import Path

import pytest

insert = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "insert.py"))["insert"]

PAGE = "# Page\n\n<!-- a -->\nold\n<!-- /a -->\nafter\n"


def test_tables_take_the_place_of_what_stood_there_one_level_lower() -> None:
    page = insert(PAGE, "a", "# Comparison\n\n## ten: 2 tasks\n\n| x |\n")
    assert page == "# Page\n\n<!-- a -->\n\n### ten: 2 tasks\n\n| x |\n\n<!-- /a -->\nafter\n"
    assert insert(page, "a", "# Comparison\n\n## ten: 2 tasks\n\n| x |\n") == page


def test_what_explains_the_tables_is_left_out() -> None:
    tables = (
        "# Comparison\n\n## ten\n\n| x |\n\n## Notes\n\nOne is gone.\n\n## What the numbers are\n\nMean over seeds.\n"
    )
    page = insert(PAGE, "a", tables)
    assert page == "# Page\n\n<!-- a -->\n\n### ten\n\n| x |\n\n### Notes\n\nOne is gone.\n\n<!-- /a -->\nafter\n"


@pytest.mark.parametrize("page", ["# Page\n", PAGE + PAGE, "<!-- /a -->\n<!-- a -->\n"])
def test_a_page_without_the_place_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="<!-- a -->"):
        insert(page, "a", "")
