"""What ``continual-df run --resume`` takes and refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from continual_df.commands.recipe import changes_since
from continual_df.commands.resume import resume_arguments
from continual_df.data.frame_table import FrameTable, read_table, write_table
from continual_df.errors import ConfigError, RunFolderError
from continual_df.ledger import Ledger, combine_ranks, share_costs
from tests.small_runs import ForkServer, SmallRuns, small_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").touch()
    return tmp_path


@pytest.mark.parametrize("form", [["--resume", "{}"], ["--resume={}"]])
def test_the_run_s_own_configuration_is_taken(folder: Path, form: list[str]) -> None:
    argv = [word.format(folder) for word in form] + ["--data.init_args.num_workers=4", "--checkpoint.keep", "5"]
    expected = ["--config", f"{folder}/config.yaml", "--run_dir", str(folder), "--resume", str(folder)]
    assert resume_arguments(argv) == [*expected, "--data.init_args.num_workers", "4", "--checkpoint.keep", "5"]


def test_arguments_without_it_stay_as_they_are() -> None:
    argv = ["--config", "a.yaml", "--model.optimizer.lr=0.1"]
    assert resume_arguments(argv) == argv


@pytest.mark.parametrize(
    "flag", ["--model.optimizer.lr=0.1", "--config=b.yaml", "-c", "--seed_everything=4", "--run_dir=x"]
)
def test_what_would_change_the_numbers_is_refused(folder: Path, flag: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{flag.partition('=')[0]} cannot stand beside --resume: .* What may change"
    ):
        resume_arguments(["--resume", str(folder), flag])


def test_a_negative_number_is_no_setting(folder: Path) -> None:
    assert resume_arguments(["--resume", str(folder), "--trainer.devices", "-1"])[-2:] == ["--trainer.devices", "-1"]


@pytest.mark.parametrize("argv", [["--resume"], ["--resume", "--checkpoint.keep=3"]])
def test_a_missing_folder_name_is_a_sentence(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="--resume needs the run folder to continue"):
        resume_arguments(argv)


def test_what_is_no_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"cannot be resumed: it holds no config\.yaml"):
        resume_arguments(["--resume", str(tmp_path)])


def test_versions_that_changed_are_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("# torch 1.0, numpy 0.9\n# python 3.1, git commit abc\nmodel: {}\n")
    said = changes_since(path)
    assert f"torch was 1.0, is {torch.__version__}" in [line.split("+")[0] for line in said] or any(
        line.startswith("torch was 1.0, is ") for line in said
    )
    assert any(line.startswith("git commit was abc, is ") for line in said)
    assert len(said) == 4  # the working directory was not written


@pytest.fixture(scope="module")
def runs(fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRuns:
    table = tmp_path_factory.mktemp("own") / "t.parquet"
    write_table(read_table(small_table), table)
    return SmallRuns(fork_server, tmp_path_factory.mktemp("resume"), small_config(table))


def change(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    first = frame.index[(frame["method"] == "columns") & (frame["split"] == "train")][0]
    if what == "an image that is gone":
        return frame.drop(index=first)
    column, value = {"a split": ("split", "val"), "a method": ("method", "smooth")}[what]
    return frame.assign(**{column: frame[column].where(frame.index != first, value)})


CHANGES: dict[str, str] = {
    "an image that is gone": "1 image is missing now (the first: 'images/columns/train0.png')",
    "a split": "1 image changed in split (the first: 'images/columns/train0.png': 'train', now 'val')",
    "a method": "1 image changed in method (the first: 'images/columns/train0.png': 'columns', now 'smooth')",
}


def test_other_data_than_the_run_began_with_is_refused(runs: SmallRuns) -> None:
    assert runs.start("changed", call=runs.whole.calls // 2).status == -9
    config = yaml.safe_load(runs.config.read_text())
    path = Path(config["data"]["init_args"]["tables"][0]["init_args"]["path"])
    table = read_table(path)
    for what, expected in CHANGES.items():
        write_table(FrameTable(change(table.frame, what).reset_index(drop=True), table.root), path)
        assert runs.resume("changed").status == 2
        assert f"cannot be resumed, its data is not what it was: {expected}. Restore it" in runs.log("changed"), what
    write_table(table, path)
    runs.check("changed")


def test_a_run_whose_folder_was_moved_goes_on_there(runs: SmallRuns) -> None:
    for share in (0.45, 0.6, 0.75):
        name = f"here{share}"
        assert runs.start(name, call=int(share * runs.whole.calls)).status == -9
        (runs.folder / "deep").mkdir(exist_ok=True)
        (runs.folder / name).rename(runs.folder / "deep" / name)
        runs.check(f"deep/../deep/{name}")


def test_a_process_that_has_the_folder_is_not_disturbed(runs: SmallRuns) -> None:
    def lock_and_resume(name: str) -> Callable[[], None]:
        import fcntl

        file = (runs.folder / name / ".lock").open("a+")
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file.close

    assert runs.start("locked", call=runs.whole.calls // 2).status == -9
    free = lock_and_resume("locked")
    assert runs.resume("locked").status == 2
    assert "locked' is being written by process" in runs.log("locked")
    free()
    runs.check("locked")


def test_costs_are_dealt_out_to_another_number_of_processes() -> None:
    states = []
    for images in (5, 4):
        ledger = Ledger()
        with ledger.activate(), ledger.phase("train", images=images):
            torch.ones(2, 3) @ torch.ones(3, images)
        states.append(ledger.state_dict())
    for size in (1, 2, 3):
        shared = [share_costs(states, rank, size) for rank in range(size)]
        total = combine_ranks(shared).cost()
        assert (total.flops, total.images) == (2 * 2 * 3 * 9, 9)


def test_a_ledger_that_comes_back_counts_no_step_anew() -> None:
    first, second = Ledger(), Ledger()
    for ledger in (first, second):
        if ledger is second:
            second.load_state_dict(first.state_dict())
        with ledger.activate(), ledger.step({"train": 2}, ("train", (2, 3))):
            torch.ones(2, 3) @ torch.ones(3, 4) if ledger is first else None
    assert second.cost().flops == 2 * first.cost().flops == 2 * 2 * 2 * 3 * 4
