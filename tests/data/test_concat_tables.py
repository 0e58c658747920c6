from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.frame_table import FrameTable, concat_tables
from continual_df.data.readers import DeepfakeBench
from continual_df.errors import FrameTableError

COLUMNS = ["path", "label", "method", "source", "group"]


def table(root: Path, *rows: tuple[str, str], **columns: list[str]) -> FrameTable:
    """Return a table of (path, method), its group the file's stem."""
    values = [[path, int(method != "real"), method, "ff", Path(path).stem] for path, method in rows]
    return FrameTable(pd.DataFrame(values, columns=COLUMNS).assign(**columns), root)


def test_rows_keep_their_order_below_the_common_root(tmp_path: Path) -> None:
    both = concat_tables(
        [
            table(tmp_path / "a", ("1.png", "real"), ("2.png", "swap")),
            table(tmp_path / "b" / "c", ("1.png", "real"), mask=["m/1.png"]),
        ]
    )
    assert both.root == tmp_path
    assert both.frame["path"].tolist() == ["a/1.png", "a/2.png", "b/c/1.png"]
    assert both.frame["mask"].tolist() == ["", "", "b/c/m/1.png"]


def test_a_file_that_two_tables_list_is_kept_once_and_counted(tmp_path: Path) -> None:
    both = concat_tables(
        [
            table(tmp_path, ("real/1.png", "real"), ("real/2.png", "real"), ("a/1.png", "a")),
            table(tmp_path / "real", ("2.png", "real"), ("3.png", "real")),
            table(tmp_path, ("real/2.png", "real"), ("b/1.png", "b")),
        ]
    )
    assert both.frame["path"].tolist() == ["real/1.png", "real/2.png", "a/1.png", "real/3.png", "b/1.png"]
    assert both.frame.index.tolist() == [0, 1, 2, 3, 4]
    assert both.frame["label"].tolist() == [0, 0, 1, 0, 1]
    assert both.skipped_by_reason() == {"listed by two tables (kept once)": 2}


def test_what_one_table_does_not_say_is_taken_from_the_other(tmp_path: Path) -> None:
    row = ("1.png", "real")
    bare = table(tmp_path, row, ("2.png", "a"))
    full = table(tmp_path, row, split=["test"], identity=["p"])
    for tables in ([bare, full], [full, bare]):
        frame = concat_tables(tables).frame.set_index("path")
        assert frame.loc["1.png", ["split", "identity"]].tolist() == ["test", "p"]
        assert frame.loc["2.png", ["split", "identity"]].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("column", "values"), [("split", ("train", "test")), ("method", ("a", "b")), ("identity", ("p", "q"))]
)
def test_tables_that_contradict_each_other_are_refused(tmp_path: Path, column: str, values: tuple[str, str]) -> None:
    tables = [table(tmp_path, ("x/1.png", "a"), ("x/2.png", "a"), **{column: [value, value]}) for value in values]
    message = rf"column '{column}': two tables list 'x/1.png' with different values, '{values[0]}' and '{values[1]}'"
    with pytest.raises(FrameTableError, match=rf"{message} \(and 1 more files\)\. Make them agree"):
        concat_tables(tables)


def test_the_reals_beside_each_method_of_df40_come_once(
    deepfakebench_tree: Callable[..., tuple[Path, Path]],
) -> None:
    def listing(method: str) -> dict[str, dict[str, dict[str, list[str]]]]:
        real = {"000": [f"original/000/{i}.png" for i in range(3)]}
        fake = {"000_003": [f"{method}/ff/frames/000_003/{i}.png" for i in range(3)]}
        return {f"{method}_Real": {"train": real}, f"{method}_Fake": {"train": fake}}

    readers = []
    for method, frames in (("simswap", 2), ("blendface", None)):
        index, root = deepfakebench_tree(f"{method}_ff", listing(method))
        readers.append(DeepfakeBench([str(index)], str(root), frames_per_video=frames))
    both = concat_tables([reader.read() for reader in readers])
    real = both.frame[both.frame["method"] == "real"]
    assert sorted(real["path"]) == [f"original/000/{i}.png" for i in range(3)]
    assert set(real["video"]) == {"simswap_ff/simswap_Real/000"}  # the third frame, listed once, joins its clip
    assert set(both.frame.loc[both.frame["method"] == "blendface", "video"]) == {"blendface_ff/blendface_Fake/000_003"}
    assert both.skipped_by_reason() == {"listed by two tables (kept once)": 2}
