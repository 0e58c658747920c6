from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from continual_df.cli import main
from continual_df.data.frame_table import read_table

Tree = Callable[..., tuple[Path, Path]]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A frame table on disk without a leak."""
    rows = []
    for group, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 2):
        for method in ("real", "lia"):
            path = f"{method}/{group}.png"
            (tmp_path / method).mkdir(exist_ok=True)
            (tmp_path / path).write_text(path)
            rows.append((path, int(method != "real"), method, "ff", f"g{group}", f"p{group}", split))
    columns = ["path", "label", "method", "source", "group", "identity", "split"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def change(table: Path, column: str, old: str, new: str) -> None:
    frame = pd.read_csv(table, dtype=str)
    frame[column] = frame[column].replace(old, new)
    frame.to_csv(table, index=False)


def test_a_clean_table_exits_with_0_and_prints_counts(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(table)]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "lia" in line)
    assert row.split() == ["ff", "lia", "4", "2", "2", "8"]
    assert "skipped nothing" in printed
    assert printed.count("\nok ") == 5


@pytest.mark.parametrize(
    ("column", "old", "new", "message"),
    [
        ("group", "g7", "g0", "a group in two splits: 1 of 7\n              g0 in test, train"),
        ("identity", "p7", "p0", "an identity in two splits: 1 of 7"),
        ("identity", "p0", "p0|p7", "a swap in train or val with a parent in test: 1 images: lia 1"),
    ],
)
def test_a_leak_exits_with_1_and_an_example(
    table: Path, capsys: pytest.CaptureFixture[str], column: str, old: str, new: str, message: str
) -> None:
    change(table, column, old, new)
    assert main(["data", "check", str(table)]) == 1
    assert message in capsys.readouterr().out


def test_identical_files_are_a_leak_unless_hashing_is_off(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (table.parent / "lia/7.png").write_text("real/0.png")
    assert main(["data", "check", str(table)]) == 1
    assert "real/0.png (train) = lia/7.png (test)" in capsys.readouterr().out
    assert main(["data", "check", str(table), "--no-hash"]) == 0
    assert "not checked identical files in two splits: switched off" in capsys.readouterr().out


def test_a_missing_column_is_not_checked(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.read_csv(table, dtype=str).drop(columns=["identity", "split"])
    frame.to_csv(table, index=False)
    assert main(["data", "check", str(table), "--split-seed", "1", "--fractions", ".5,.25,.25"]) == 0
    printed = capsys.readouterr().out
    assert "not checked an identity in two splits: identity missing in 16 of 16 rows" in printed
    assert "ok          a group in two splits" in printed
    assert main(["data", "check", str(table)]) == 0
    assert "not checked a group in two splits: split missing in 16 of 16 rows" in capsys.readouterr().out


def test_what_is_skipped_is_counted_and_listed(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        (table.parent / f"real/{number}.png").unlink()
    main(["data", "check", str(table)])
    printed = capsys.readouterr().out
    assert "skipped 5: file missing\n    real/0.png\n" in printed
    assert "--all lists 2 more" in printed
    main(["data", "check", str(table), "--all"])
    assert "real/4.png" in capsys.readouterr().out


@pytest.fixture
def experiment(deepfakebench_tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment with two readers, roots by environment variable and interpolation."""
    frames = {f"{i:03d}": [f"real/{i:03d}/0.png"] for i in range(10)}
    index, root = deepfakebench_tree("lia_ff", {"lia_Real": {"train": frames}})
    (tmp_path / "tree/stargan").mkdir(parents=True)
    (tmp_path / "tree/stargan/1.png").write_bytes(b"1")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    config = tmp_path / "experiment.yaml"
    config.write_text(
        f"""seed_everything: 1
model: {{class_path: continual_df.methods.Finetune}}
images: {root}
data:
  class_path: continual_df.data.ForgeryStream
  init_args:
    split_seed: ${{seed_everything}}
    tables:
      - class_path: continual_df.data.readers.DeepfakeBench
        init_args:
          index: [{index}]
          root: ${{images}}
      - class_path: FolderTree
        init_args:
          root: ${{oc.env:DATA_ROOT}}/tree
          source: celeba
          split: test
"""
    )
    return config


def test_build_writes_the_tables_of_an_experiment(experiment: Path, tmp_path: Path) -> None:
    output = tmp_path / "out/table.parquet"
    assert main(["data", "build", str(experiment), "-o", str(output), "--hash"]) == 0
    table = read_table(output)
    assert sorted(table.frame["method"].unique()) == ["real", "stargan"]
    assert len(table) == 11
    assert all((table.root / path).is_file() for path in table.frame["path"])
    assert table.frame["hash"].str.fullmatch("[0-9a-f]{32}").all()
    assert [path.name for path in output.parent.iterdir()] == ["table.parquet"]
    assert main(["data", "check", str(output)]) == 0


def test_build_makes_the_same_splits_for_the_same_seed(experiment: Path, tmp_path: Path) -> None:
    splits = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        output = tmp_path / f"{name}.parquet"
        assert main(["data", "build", str(experiment), "-o", str(output), "--split-seed", seed]) == 0
        splits.append(read_table(output).frame["split"].tolist())
    assert splits[0] == splits[1] != splits[2]
    assert set(splits[0]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "source: celeba",
            "sorce: celeba",
            "tables[1].init_args: FolderTree has no key 'sorce'. Did you mean 'source'?",
        ),
        ("FolderTree", "FolderTre", "tables[1]: no reader is called 'FolderTre'; did you mean 'FolderTree'?"),
        ("readers.DeepfakeBench", "nowhere.X", "no reader is called 'continual_df.data.nowhere.X'"),
        ("split: test", "split: exam", 'Parser key "init_args.split"'),
        ("index: [", "index: [nowhere.json, ", "The index file was not found at 'nowhere.json'. Correct 'index'"),
        ("oc.env:DATA_ROOT", "oc.env:NO_SUCH_VARIABLE", "Environment variable 'NO_SUCH_VARIABLE' not found"),
        ("root: ${images}", "rows: 1", "DeepfakeBench has no key 'rows'. It knows index, root"),
        ("tables:", "tabels:", "there is no list of tables"),
        ("seed_everything: 1", "seed: [", "experiment.yaml, line 3: this is not valid YAML"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_and_exit_status_2(
    experiment: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    text = experiment.read_text()
    assert old in text
    experiment.write_text(text.replace(old, new))
    assert main(["data", "check", str(experiment)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.err.count("\n") == 1


def test_bad_input_is_one_sentence_and_exit_status_2(
    tmp_path: Path, table: Path, experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "index/lia_ff.json"
    broken.write_text("{")
    output = tmp_path / "x.parquet"
    for argv, message in (
        (["check", str(experiment)], "lia_ff.json: not a JSON file"),
        (["check", str(tmp_path / "no.yaml")], "does not exist. Give a YAML file"),
        (["check", str(tmp_path / "no.csv")], "The frame table was not found"),
        (["check", str(experiment), "--root", "x"], "--root goes with a .csv or .parquet table"),
        (["check", str(table), "--fractions", ".5,.2,.3"], "--fractions needs --split-seed"),
        (["build", str(table), "-o", "t.csv"], "Frame tables are written as .parquet"),
        (["build", str(experiment), "-o", str(output)], "not a JSON file"),
        (["build", str(table), "-o", str(output), "--split-seed", "0", "--fractions", "1,1,1"], "three shares"),
    ):
        assert main(["data", *argv]) == 2, argv
        assert message in capsys.readouterr().err
    assert not output.exists()


def test_readers_that_contradict_each_other_name_the_configuration(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    frame = read_table(table).frame
    frame.assign(group="elsewhere").to_csv(other, index=False)
    root = str(read_table(table).root)
    readers = [{"class_path": "TableFile", "init_args": {"path": str(path), "root": root}} for path in (table, other)]
    config = tmp_path / "two.yaml"
    config.write_text(json.dumps({"tables": readers}))
    assert main(["data", "check", str(config)]) == 2
    message = capsys.readouterr().err
    assert f"{config}: " in message
    assert "with different values" in message


def test_a_file_in_two_readers_is_counted_once(tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = {"class_path": "TableFile", "init_args": {"path": str(table)}}
    config = tmp_path / "two.yaml"
    config.write_text(json.dumps({"tables": [reader, reader]}))
    main(["data", "check", str(config)])
    out = capsys.readouterr().out
    assert "16 images below" in out
    assert "skipped 16: listed by two tables (kept once)" in out
