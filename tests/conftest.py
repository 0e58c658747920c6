"""Fixtures that several folders of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.runs", "tests.toy", "tests.trees", "tests.small_runs"]


@pytest.fixture(scope="session", autouse=True)
def _no_figures_of_runs() -> Iterator[None]:
    """Leave out the figures at the end of a run: half of the time of so small a one.

    'continual-df plot' draws as ever, and so does a run in a process of its own (tests/resume/test_real_processes.py).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("continual_df.commands.run.draw_figures", lambda *_: ([], []))
        yield
