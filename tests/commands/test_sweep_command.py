"""The runs of a small grid: made, skipped, continued, refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml

from continual_df.cli import main
from continual_df.commands import sweep_pool
from continual_df.commands.sweep_file import Cell, read_sweep
from tests.small_runs import TESTS, ForkServer, fingerprint, small_config

CELLS = ["toy/finetune/seed_0", "toy/er/seed_0", "toy/finetune/seed_1", "toy/er/seed_1"]
"""In the order of a sweep: the first seed of everything before the second."""

METHODS = {
    "finetune": {"class_path": "Finetune"},
    "er": {
        "class_path": "Replay",
        "init_args": {"memory": {"class_path": "ReplayMemory", "init_args": {"capacity": 8}}},
    },
}


class Ended(NamedTuple):
    """A process that has ended before anybody asks."""

    status: int

    def poll(self) -> int:
        return self.status

    def send_signal(self, sig: int, /) -> None:
        raise AssertionError(f"signal {sig} to a process that has ended")


class Grid:
    """A sweep of two methods with two seeds, whose runs are children of the fork server."""

    def __init__(self, folder: Path, server: ForkServer, table: Path) -> None:
        self.folder, self.server = folder, server
        self.started: list[str] = []
        config = small_config(table, "Finetune")
        self.write("base.yaml", {key: value for key, value in config.items() if key != "data"})
        self.write("toy.yaml", {"data": config["data"]})
        for name, model in METHODS.items():
            self.write(f"{name}.yaml", {"model": model})
        self.settings: dict[str, Any] = {
            "out": str(folder / "runs"),
            "csv": str(folder / "rows.csv"),
            "seeds": [0, 1],
            "common": "base.yaml",
            "streams": {"toy": "toy.yaml"},
            "methods": {name: f"{name}.yaml" for name in METHODS},
        }

    def write(self, name: str, content: dict[str, Any]) -> Path:
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
        return self.folder / name

    def sweep(self, *flags: str, **settings: Any) -> int:
        """Sweep, with ``settings`` in place of the usual ones, and return the exit status."""
        self.started.clear()
        return main(["sweep", str(self.write("sweep.yaml", {**self.settings, **settings})), *flags])

    def start(self, command: list[str], log: Path, environment: dict[str, str]) -> Ended:
        """Stand in for the start of a process."""
        assert command[:4] == [sys.executable, "-m", "continual_df.cli", "run"]
        self.started.append(f"{self.name(log)}{' again' if '--resume' in command else ''}")
        return Ended(self.server(command[3:], log, environment=environment).status)

    def name(self, log: Path) -> str:
        """Return the name of a run."""
        return str(log.relative_to(self.folder / "runs").with_suffix(""))

    def run(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.folder / "runs" / name

    def rows(self) -> pd.DataFrame:
        """Return what the CSV file holds."""
        return pd.read_csv(self.folder / "rows.csv")


@pytest.fixture(scope="module")
def _swept(fork_server: ForkServer, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    grid = Grid(tmp_path_factory.mktemp("grid"), fork_server, small_table)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TESTS))
        patch.setattr(sweep_pool, "start_process", grid.start)
        patch.setattr(sweep_pool, "PAUSE", 0)
        assert grid.sweep() == 0
        assert grid.started == CELLS
        yield grid


@pytest.fixture
def grid(_swept: Grid, capsys: pytest.CaptureFixture[str]) -> Grid:
    """The grid, all of whose runs have finished; each test leaves it so."""
    capsys.readouterr()
    return _swept


def test_each_finished_run_has_a_row_under_the_names_of_the_sweep(grid: Grid) -> None:
    rows = grid.rows()
    assert rows[["stream", "method", "seed"]].agg(tuple, axis=1).tolist() == [
        ("toy", method, seed) for method in ("er", "finetune") for seed in (0, 1)
    ]
    assert rows["run"].tolist() == sorted(CELLS)
    assert rows["memory_images"].tolist() == [8, 8, 0, 0]
    assert rows.groupby("method")["recipe"].nunique().tolist() == [1, 1]
    assert rows["average_auc"].between(0, 1).all()


def test_the_same_command_again_does_nothing(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    before = (grid.folder / "rows.csv").stat()
    assert grid.sweep() == 0
    assert grid.started == []
    assert (grid.folder / "rows.csv").stat() == before
    assert "4 runs: 4 finished\nnothing to do" in capsys.readouterr().out


def test_a_killed_run_goes_on_to_the_same_bytes_and_its_row_is_replaced(grid: Grid) -> None:
    name = "toy/er/seed_1"
    run, before = grid.run(name), grid.rows()
    expected = fingerprint(run)
    whole = run.rename(run.with_name("whole"))
    cell = next(cell for cell in read_sweep(grid.folder / "sweep.yaml").cells if cell.name == name)
    calls = grid.server(["run", *cell.settings], cell.log).calls
    shutil.rmtree(run)
    assert grid.server(["run", *cell.settings], cell.log, call=calls // 2).status == -9
    assert grid.sweep() == 0
    assert grid.started == [f"{name} again"]
    assert fingerprint(run) == expected
    assert grid.rows().drop(columns="train_seconds").equals(before.drop(columns="train_seconds"))
    assert (grid.rows()["train_seconds"] == before["train_seconds"]).tolist() == [True, False, True, True]
    shutil.rmtree(whole)


def test_rows_that_are_lost_or_of_another_run_come_back(grid: Grid) -> None:
    before = (grid.folder / "rows.csv").read_bytes()
    (grid.folder / "rows.csv").unlink()
    assert grid.sweep("--only", "method=er", "seed=0,1") == 0
    assert grid.rows()["method"].tolist() == ["er", "er"]
    of_another_run = grid.rows().assign(train_seconds=0.5, average_auc=0.25)
    of_another_run.to_csv(grid.folder / "rows.csv", index=False)
    assert grid.sweep() == 0
    assert (grid.folder / "rows.csv").read_bytes() == before


def test_a_run_whose_folder_is_gone_is_skipped_for_its_row_if_asked(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    run = grid.run("toy/er/seed_0")
    away = run.rename(run.with_name("away"))
    assert grid.sweep("--skip-recorded", "--only", "seed=0") == 0
    assert grid.started == []
    assert grid.sweep("--dry-run", "--only", "seed=0") == 0
    assert re.search(r"toy/er/seed_0 +to do\n", capsys.readouterr().out)
    away.rename(run)


def test_a_run_that_fails_is_reported_and_the_others_go_on(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    memory = {"class_path": "ReplayMemory", "init_args": {"capacity": 0}}
    grid.write("none.yaml", {"model": {"class_path": "Replay", "init_args": {"memory": memory}}})
    before = (grid.folder / "rows.csv").read_bytes()
    assert grid.sweep(methods={"none": "none.yaml", "late": "finetune.yaml"}, seeds=[2]) == 1
    assert grid.started == ["toy/none/seed_2", "toy/late/seed_2"]
    said = capsys.readouterr().out
    assert re.search(
        r"toy/none/seed_2 has failed after 0:00:\d\d: exit status 2\. The end of .*toy/none/seed_2\.log:\n"
        r"(?:  \| .*\n)*  \| continual-df run: capacity must be at least 1, got 0\n",
        said,
    ), said
    assert re.search(r"toy/late/seed_2 has finished in 0:00:\d\d: average AUC [.\d]+, forgetting -?[.\d]+\n", said)
    assert "1 finished, 1 failed; the rows are in" in said
    assert "late" in grid.rows()["method"].tolist()
    assert "none" not in grid.rows()["method"].tolist()
    (grid.folder / "rows.csv").write_bytes(before)


def test_a_dry_run_lists_the_runs_and_starts_none(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    (grid.run("toy/er/seed_1") / "results.json").rename(grid.folder / "away.json")
    assert grid.sweep("--dry-run", seeds=[0, 1, 5], methods={"er": "er.yaml"}) == 0
    assert grid.started == []
    lines = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["toy/er/seed_0", "finished"],
        ["toy/er/seed_1", "broken (it has no results.json)"],
        ["toy/er/seed_5", "to do"],
    ]
    (grid.folder / "away.json").rename(grid.run("toy/er/seed_1") / "results.json")


def changed(file: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Change the content of a YAML file and return what it was."""
    before = file.read_text()
    content = yaml.safe_load(before)
    change(content)
    file.write_text(yaml.safe_dump(content))
    return before


def test_a_run_of_another_recipe_is_refused_by_the_key_before_any_starts(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    def faster(config: dict[str, Any]) -> None:
        config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = 0.1

    before = changed(grid.folder / "base.yaml", faster)
    assert grid.sweep(seeds=[7, 0]) == 2
    assert grid.started == []
    assert (
        f"'{grid.run('toy/finetune/seed_0')}' was made with another recipe: model.init_args.optimizer.init_args.lr is 0.03, "
        "now 0.1. Remove it, or give the method or the stream another name. So were 1 more: --dry-run lists them."
    ) in capsys.readouterr().err
    assert grid.sweep("--dry-run", seeds=[0]) == 0
    assert capsys.readouterr().out.count("now 0.1") == 2
    (grid.folder / "base.yaml").write_text(before)


def test_where_the_data_lies_and_how_a_run_is_watched_is_not_its_recipe(grid: Grid, small_table: Path) -> None:
    shutil.copy(small_table, grid.folder / "moved.parquet")

    def move(config: dict[str, Any]) -> None:
        config["data"]["init_args"]["tables"][0]["init_args"]["path"] = str(grid.folder / "moved.parquet")
        config["data"]["init_args"] |= {"num_workers": 3, "cache_images": True}
        config["trainer"] = {"enable_progress_bar": True}
        config["checkpoint"] = {"keep": 7}

    before = changed(grid.folder / "toy.yaml", move)
    assert grid.sweep("--only", "seed=1", "method=er") == 0
    assert grid.started == []
    (grid.folder / "toy.yaml").write_text(before)


def test_a_setting_that_a_run_could_not_know_counts_where_a_file_names_it(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    config = grid.run("toy/er/seed_0") / "config.yaml"
    before = config.read_text()
    assert "    replay_per_batch: 16\n" in before
    config.write_text(before.replace("    replay_per_batch: 16\n", ""))
    assert grid.sweep("--only", "seed=0", "method=er") == 0
    named = changed(grid.folder / "er.yaml", lambda content: content["model"]["init_args"].update(replay_per_batch=16))
    assert grid.sweep("--only", "seed=0", "method=er") == 2
    assert "model.init_args.replay_per_batch is not there, now 16" in capsys.readouterr().err
    (grid.folder / "er.yaml").write_text(named)
    config.write_text(before)


def test_a_run_that_another_process_writes_is_left_to_it(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\nprint('held', flush=True)\n"
        "sys.stdin.read()"
    )
    lock = grid.run("toy/er/seed_0") / ".lock"
    command = [sys.executable, "-c", program, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert grid.sweep("--only", "stream=toy", "seed=0", "method=er") == 0
    assert grid.started == []
    assert re.search(r"toy/er/seed_0 is skipped: it is held \(process \d+ on .*\)\n1 skipped;", capsys.readouterr().out)


def test_what_is_wrong_in_any_configuration_is_told_before_a_run_starts(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    grid.write("wrong.yaml", {"model": {"class_path": "Replay", "init_args": {"replay_per_bach": 3}}})
    assert grid.sweep(methods={"late": "finetune.yaml", "wrong": "wrong.yaml"}, seeds=[3]) == 2
    assert re.search(
        r"toy/wrong/seed_3: .*wrong\.yaml, line \d: model: the key 'replay_per_bach' is not known; did you mean "
        r"'replay_per_batch'\?",
        capsys.readouterr().err,
    )
    assert grid.started == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a key": ({"strems": {}}, r"the key 'strems' is not known; did you mean 'streams'\?"),
    "a key like no other": ({"qqq": 1}, r"the key 'qqq' is not known\. It takes name, streams, methods"),
    "no streams": ({"streams": None}, "streams: expected a mapping of names to lists of files, got None"),
    "a file": ({"common": ["bas.yaml"]}, r"common: '.*/bas.yaml' is not there\. Paths begin where this file is"),
    "a name": ({"methods": {"a/b": "er.yaml"}}, "methods: expected names of letters, digits and .*, got 'a/b'"),
    "a seed": ({"seeds": [0, "x"]}, r"seeds: expected a list of whole numbers, got \[0, 'x'\]"),
    "seeds twice": ({"seeds": [0, 0]}, r"seeds: expected each value once, got \[0, 0\]"),
    "workers": ({"workers": 0}, "workers: expected a whole number of at least 1, got 0"),
    "threads": ({"threads": True}, "threads: expected a whole number of at least 1, got True"),
    "a variable": ({"environment": {"A": [1]}}, r"environment.A: expected a text or a number, got \[1\]"),
    "no blocks": ({"runs": []}, "runs: expected a list of blocks"),
    "a key of a block": ({"runs": [{"method": ["er"]}]}, r"'runs\[0\].method' is not known; did you mean 'methods'\?"),
    "a method of a block": (
        {"runs": [{}, {"methods": ["fintune"]}]},
        r"runs\[1\].methods: 'fintune' is not among the sweep's methods; did you mean 'finetune'\?",
    ),
    "a seed of a block": (
        {"runs": [{"seeds": [4]}]},
        r"runs\[0\].seeds: '4' is not among the sweep's seeds\. It knows 0, 1",
    ),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for name in ("base.yaml", "toy.yaml", "er.yaml", "finetune.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def write_sweep(folder: Path, **settings: Any) -> Path:
    usual = {
        "streams": {"toy": "toy.yaml"},
        "methods": {"er": "er.yaml", "finetune": ["finetune.yaml"]},
        "seeds": [0, 1],
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**usual, **settings}, sort_keys=False))
    return folder / "sweep.yaml"


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_sweep_is_one_sentence(what: str, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings, sentence = WRONG[what]
    assert main(["sweep", str(write_sweep(small, **settings))]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(rf"continual-df sweep: [^\n]*sweep\.yaml: [^\n]*{sentence}[^\n]*\n", said), said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["methods=er"], "--only takes stream=, method= and seed=, got 'methods=er'"),
        (["method=fintune"], "no run of the sweep has the method 'fintune'; did you mean 'finetune'?"),
        (["method=er", "seed=1"], "--only method=er seed=1: no run of the sweep is all of that"),
    ],
)
def test_a_wrong_selection_is_one_sentence(
    words: list[str], sentence: str, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(small, runs=[{"methods": ["er"], "seeds": [0]}, {"methods": ["finetune"]}])
    assert main(["sweep", str(file), "--only", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_blocks_name_runs_in_order_and_each_once(small: Path) -> None:
    (small / "back.yaml").touch()
    blocks: list[dict[str, Any]] = [{"methods": ["finetune"]}, {"streams": ["back"], "seeds": [1]}]
    sweep = read_sweep(write_sweep(small, streams={"toy": [], "back": ["back.yaml"]}, runs=blocks))
    assert [cell.name for cell in sweep.cells] == [
        *["toy/finetune/seed_0", "back/finetune/seed_0", "toy/finetune/seed_1", "back/finetune/seed_1"],
        "back/er/seed_1",
    ]


def test_several_sweeps_can_share_a_file_of_methods(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (small / "shared").mkdir()
    (small / "shared" / "methods.yaml").write_text("er: ../er.yaml\nlwf: []\n")
    sweep = read_sweep(write_sweep(small, methods="shared/methods.yaml", seeds=[0]))
    assert {cell.method: cell.configs[1:] for cell in sweep.cells} == {
        "er": (small / "shared" / "../er.yaml",),
        "lwf": (),
    }
    (small / "own.yaml").write_text("er: []\n")
    both = read_sweep(
        write_sweep(small, methods=["shared/methods.yaml", "own.yaml"], seeds=[0])
    )  # the later one is taken
    assert {cell.method: cell.configs[1:] for cell in both.cells} == {"er": (), "lwf": ()}
    (small / "shared" / "methods.yaml").write_text("er: e.yaml\n")
    assert main(["sweep", str(write_sweep(small, methods="shared/methods.yaml"))]) == 2
    assert re.search(r"shared/methods\.yaml: methods\.er: '.*/shared/e\.yaml' is not there", capsys.readouterr().err)


def test_what_a_sweep_does_not_say_has_a_default(small: Path) -> None:
    sweep = read_sweep(write_sweep(small, common=["base.yaml"], environment={"A": 8_000_000_000}))
    assert (sweep.csv, sweep.workers) == (Path("docs/results/sweep.csv"), 1)
    assert sweep.environment == {"OMP_NUM_THREADS": "1", "A": "8000000000"}
    files = tuple(small / name for name in ("base.yaml", "toy.yaml", "er.yaml"))
    assert sweep.cells[0] == Cell("toy", "er", 0, files, Path("runs/sweep/toy/er/seed_0"))
