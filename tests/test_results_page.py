"""The tables of docs/results.md are those of the rows in docs/results: after a change of either, run 'make tables'."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from continual_df.cli import main

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("sweep", "sort"),
    [
        ("procedural", "average_auc"),
        ("real_faces", "average_auc"),
        ("open_world_procedural", "novel_acc_strict"),
        ("open_world_real_faces", "novel_acc_strict"),
    ],
)
def test_tables_of_the_page_are_those_of_the_rows(sweep: str, sort: str, tmp_path: Path) -> None:
    insert = runpy.run_path(str(ROOT / "tools/insert.py"))["insert"]
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    rows = str(ROOT / f"docs/results/{sweep}.csv")
    assert main(["compare", rows, "--draws", "0", "--sort", sort, "--out", str(tmp_path)]) == 0
    assert insert(page, sweep, (tmp_path / "comparison.md").read_text(encoding="utf-8")) == page
