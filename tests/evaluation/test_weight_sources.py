from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.errors import RunFolderError
from continual_df.evaluation.weight_sources import read_weight_sources
from tests.cost_runs import write_sources


def test_sources_come_by_the_number_of_the_task(tmp_path: Path) -> None:
    write_sources(tmp_path, {1: (0, {}), 3: (1, {0: 0.61, 1: 0.74, 2: 0.5})})
    assert read_weight_sources(tmp_path, 3) == {1: (0, {}), 3: (1, {0: 0.61, 1: 0.74, 2: 0.5})}
    assert read_weight_sources(tmp_path, 2) == {1: (0, {})}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "'source' and 'accuracy' are expected"),
        ('{"source": null, "accuracy": {}}', "'source' and 'accuracy' are expected"),
        ('{"source": 0, "accuracy": []}', "'source' and 'accuracy' are expected"),
        ('{"source": 2, "accuracy": {}}', "names a task that does not come before task 2"),
        ('{"source": 0, "accuracy": {"2": 0.5}}', "names a task that does not come before task 2"),
        ("[", "not JSON"),
    ],
)
def test_broken_file_is_refused(content: str, problem: str, tmp_path: Path) -> None:
    write_sources(tmp_path, {2: (0, {})})
    (tmp_path / "tasks/2/source.json").write_text(content)
    with pytest.raises(RunFolderError, match=rf"tasks/2/source\.json: {problem}"):
        read_weight_sources(tmp_path, 2)
