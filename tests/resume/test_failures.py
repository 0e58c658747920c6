"""What breaks in the middle of training ends the run with task, step and sample rows, and the run goes on afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.frame_table import FrameTable, read_table, write_table
from tests.small_runs import ForkServer, SmallRuns, small_config
from tests.toy import METHODS, write_toy_table

PLACE = r"task 1 \('columns'\), step (\d+), sample rows \[([\d, ]+)\]"

STEP_4 = PLACE.replace(r"(\d+)", "4")


class FaultyRuns(SmallRuns):
    """Runs in whose fifth training step (of eight) something goes wrong."""

    def __init__(self, server: ForkServer, folder: Path) -> None:
        table = write_toy_table(folder / "data", METHODS[:2])
        few = table.frame[table.frame["group"].str.fullmatch(r"train\d|val[0-2]|test[0-3]")]
        write_table(FrameTable(few.reset_index(drop=True), table.root), folder / "t.parquet")
        self.fault = folder / "fault"
        config = small_config(folder / "t.parquet")
        detector = {"class_path": "toy.FaultyDetector", "init_args": {"fault": str(self.fault)}}
        config["model"]["init_args"]["detector"] = detector
        super().__init__(server, folder, config)

    def fail(self, name: str, what: str, argument: str = "", workers: int = 0) -> str:
        """Return the sentence with which the run ends."""
        self.fault.write_text(f"5\n{what}\n{argument}")
        assert self.start(name, f"--data.init_args.num_workers={workers}").status == 2, self.log(name)
        assert not self.fault.exists()
        (line,) = [line for line in self.log(name).splitlines() if line.startswith("continual-df run: ")]
        assert "Traceback" not in self.log(name)
        return line.removeprefix("continual-df run: ")

    def steps(self, name: str) -> list[str]:
        """Return the checkpoints within the first task."""
        return sorted(path.stem for path in (self.folder / name / "steps" / "1").iterdir())


@pytest.fixture(scope="module")
def runs(fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> FaultyRuns:
    return FaultyRuns(fork_server, tmp_path_factory.mktemp("failures"))


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_file_that_is_gone_is_named_with_the_rows_that_needed_it(runs: FaultyRuns, workers: int) -> None:
    images, name = runs.folder / "data" / "images", f"gone{workers}"
    said = runs.fail(name, "rename", str(images), workers)
    images.with_name("images.away").rename(images)
    found = re.fullmatch(
        rf"'(\S+)' cannot be read as an image: .* It was needed in {PLACE}; nothing was put in its place\. .*", said
    )
    assert found, said
    frame = read_table(runs.folder / name / "frames.parquet").frame
    rows = [int(row) for row in found[3].split(",")]
    assert str(Path(found[1]).relative_to(runs.folder / "data")) in set(frame.loc[rows, "path"])
    if not workers:  # the next batch is the first without files, and nothing is lost
        assert int(found[2]) == 5
        assert f"step_{5:09d}" in runs.steps(name)
    runs.check(name)


def test_memory_that_runs_out_is_a_sentence_with_the_rows(runs: FaultyRuns) -> None:
    said = runs.fail("memory", "out of memory")
    assert re.match(rf"The device ran out of memory in {STEP_4}: CUDA out of memory\. Free it", said), said
    assert runs.steps("memory") == [f"step_{step:09d}" for step in (2, 4)]
    runs.check("memory")


def test_a_loss_that_is_not_finite_leaves_the_state_before_it(runs: FaultyRuns) -> None:
    said = runs.fail("nan", "nan")
    assert said.startswith("The loss is not finite in task 1 ('columns'), step 4 (detection nan); sample rows [")
    assert runs.steps("nan") == [f"step_{step:09d}" for step in (2, 4)]
    runs.check("nan")


def test_a_worker_that_dies_is_a_sentence_with_the_rows(runs: FaultyRuns) -> None:
    said = runs.fail("worker", "kill workers", workers=1)
    assert re.match(rf"A data worker died in {PLACE}: .* Most often memory ran out", said), said
    runs.check("worker")


def test_the_rows_that_failed_are_those_that_the_step_had_in_an_unbroken_run(runs: FaultyRuns) -> None:
    said = runs.fail("same", "out of memory")
    again = runs.fail("again", "nan")
    rows = [re.search(r"sample rows (\[[\d, ]+\])", line) for line in (said, again)]
    assert rows[0]
    assert rows[1]
    assert rows[0][1] == rows[1][1]
    metrics = pd.read_csv(runs.folder / "again" / "metrics.csv")
    assert metrics.loc[metrics["metric"] == "train/loss", "step"].max() < 4
