from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.errors import RunFolderError, WriteError
from continual_df.metrics_log import MetricsLog


def test_a_rewound_log_goes_on_as_if_the_rest_had_not_been(tmp_path: Path) -> None:
    whole, broken = MetricsLog(tmp_path / "whole.csv"), MetricsLog(tmp_path / "broken.csv")
    for log in (whole, broken):
        log.task = 1
        log.log_metrics({"loss": 1.0, "epoch": 0}, 0)
    length = broken.length()
    broken.log_metrics({"loss": 9.0}, 1)
    again = MetricsLog(tmp_path / "broken.csv")
    again.rewind(length)
    again.task = 1
    for log in (whole, again):
        log.log_metrics({"loss": 0.5}, 1)
    assert (tmp_path / "broken.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_log_that_is_rewound_to_nothing_begins_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("task,epoch,st")  # a kill in the first write
    log = MetricsLog(path)
    log.rewind(0)
    log.log_metrics({"loss": 1.0}, 0)
    assert path.read_text().splitlines() == ["task,epoch,step,metric,value", "0,,0,loss,1.0"]


def test_rewinding_forgets_nothing_before_something_new_is_logged_or_saved(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = MetricsLog(path)
    log.log_metrics({"loss": 1.0}, 0)
    length = log.length()
    log.log_metrics({"loss": 2.0}, 1)
    later = log.length()
    again = MetricsLog(path)
    again.rewind(length)
    again.rewind(later)
    assert again.length() == later
    again.rewind(length)
    assert again.length() == length


def test_a_file_that_has_lost_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("task")
    with pytest.raises(RunFolderError, match="has 4 bytes, but the state to resume from was saved when it had 100"):
        MetricsLog(tmp_path / "metrics.csv").rewind(100)


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="could not be written"):
        MetricsLog(tmp_path / "nowhere" / "metrics.csv").log_metrics({"loss": 1.0}, 0)
