from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from continual_df.data.datamodule import ForgeryStream
from continual_df.data.file_hashes import hash_files
from continual_df.data.frame_table import FrameTable, write_table
from continual_df.data.images import decode_image
from continual_df.data.readers import Reader, TableFile
from continual_df.data.sampler import Source
from continual_df.data.stream import HELD_OUT, Stream, TaskSpec
from continual_df.data.task_order import TaskOrder
from continual_df.errors import ConfigError, FrameTableError, StreamError, UnreadableImageError
from tests.toy import ToyData
from tests.trees import WriteImage

METHODS = ("real", "swap", "paint")
TASKS = [TaskSpec(["swap"]), TaskSpec(["paint"])]
OFFICIAL = {"train": 6, "val": 2, "test": 4}


@pytest.fixture
def frame(tmp_path: Path, write_image: WriteImage) -> pd.DataFrame:
    """Twelve photos and two forgeries of each, with official splits."""
    splits = [split for split, count in OFFICIAL.items() for _ in range(count)]
    rows = []
    for group, split in enumerate(splits):
        for method in METHODS:
            path = write_image(tmp_path / method / f"{group}.png", size=8).relative_to(tmp_path)
            rows.append([str(path), int(method != "real"), method, "toy", f"g{group}", split])
    return pd.DataFrame(rows, columns=["path", "label", "method", "source", "group", "split"])


def stream_of(frame: pd.DataFrame, root: Path, **options: Any) -> ForgeryStream:
    write_table(FrameTable(frame, root), root / "t.parquet")
    return ForgeryStream([TableFile(str(root / "t.parquet"))], TASKS, **options)


def splits_of(stream: Stream) -> pd.Series:
    """Return the one split of every group."""
    member = stream.membership.assign(group=stream.table.frame.loc[stream.membership["sample"], "group"].to_numpy())
    assert (member.groupby("group")["split"].nunique() == 1).all()
    return member.groupby("group")["split"].first()


def test_splits_of_the_table_are_kept(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = stream_of(frame, tmp_path)
    expected = frame.groupby("group")["split"].first()
    pd.testing.assert_series_equal(splits_of(data.stream), expected, check_dtype=False)


@pytest.mark.parametrize("own", [None, "", "kept"])
def test_splits_are_made_by_group_where_there_are_none(frame: pd.DataFrame, tmp_path: Path, own: str | None) -> None:
    official = frame.groupby("group")["split"].first()
    if own is None:
        frame = frame.drop(columns="split")
    elif own == "":
        frame["split"] = ""
    options: dict[str, Any] = {"fractions": (0.5, 0.25, 0.25), "resplit": own == "kept"}
    made = splits_of(stream_of(frame, tmp_path, **options).stream)
    assert made.value_counts().to_dict() == {"train": 6, "val": 3, "test": 3}
    assert not made.equals(official)
    pd.testing.assert_series_equal(splits_of(stream_of(frame, tmp_path, seed=9, **options).stream), made)
    assert not splits_of(stream_of(frame, tmp_path, split_seed=9, **options).stream).equals(made)


def test_a_split_that_is_missing_in_places_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[[4, 7], "split"] = ""
    with pytest.raises(StreamError, match=r"2 of 36 rows have no split, the first is row 4.*resplit"):
        _ = stream_of(frame, tmp_path).stream


def test_val_fraction_takes_validation_from_train_and_leaves_test_alone(frame: pd.DataFrame, tmp_path: Path) -> None:
    official = splits_of(stream_of(frame, tmp_path).stream)
    made = splits_of(stream_of(frame, tmp_path, val_fraction=0.33).stream)
    assert made.value_counts().to_dict() == {"train": 4, "val": 2, "": 2, "test": 4}
    assert (official[made.index[made == "val"]] == "train").all()
    assert (official[made.index[made == "test"]] == "test").all()


def test_a_task_with_an_empty_split_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame[frame["split"] != "val"]
    with pytest.raises(StreamError, match=r"Task 1 \('swap'\) has no images in split 'val': set .*val_fraction"):
        _ = stream_of(frame, tmp_path).stream


def test_tables_without_rows_are_refused(tmp_path: Path) -> None:
    class Nothing(TableFile):
        def read(self) -> FrameTable:
            return FrameTable(pd.DataFrame(columns=["path", "label", "method", "source", "group"]), tmp_path)

    with pytest.raises(StreamError, match="hold no image"):
        _ = ForgeryStream([Nothing("")], TASKS).stream


def spoil(root: Path) -> list[str]:
    """Break three images in three ways and return their paths."""
    whole = (root / "real/0.png").read_bytes()
    (root / "real/0.png").write_bytes(whole[: len(whole) // 2])
    (root / "swap/1.png").write_bytes(b"")
    (root / "paint/2.png").write_text("not an image")
    return ["real/0.png", "swap/1.png", "paint/2.png"]


def test_unreadable_images_are_counted_listed_and_left_out(frame: pd.DataFrame, tmp_path: Path) -> None:
    bad = spoil(tmp_path)
    stream = stream_of(frame, tmp_path, max_unreadable=3 / 36).stream
    assert len(stream.table) == 33
    assert not set(bad) & set(stream.table.frame["path"])
    assert sorted(item.entry for item in stream.table.skipped) == sorted(bad)
    assert stream.describe()["skipped"] == {"unreadable image": 3}


def test_more_unreadable_images_than_allowed_stop_the_run(frame: pd.DataFrame, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(FrameTableError, match=r"row 0: 3 of 36 images are unreadable.*share of 0\.08.*real/0\.png"):
        _ = stream_of(frame, tmp_path, max_unreadable=0.08).stream


def test_unreadable_images_say_so_in_mid_run_where_they_were_not_checked(frame: pd.DataFrame, tmp_path: Path) -> None:
    spoil(tmp_path)
    data = stream_of(frame, tmp_path, check_images=False, max_unreadable=0.0)
    with pytest.raises(UnreadableImageError, match=r"real/0\.png' cannot be read as an image"):
        list(data.rows_dataloader(data.stream.rows(0, "train")))


def test_a_cached_image_is_read_once_and_stays_as_it_was_whatever_a_transform_writes_into_it(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    plain, cached = stream_of(frame, tmp_path), stream_of(frame, tmp_path, cache_images=True)
    rows = plain.stream.rows(0, "train")
    assert rows.num
    assert cached.stream.rows(0, "train").sample.tolist() == rows.sample.tolist()
    first = [plain.images(sample) for sample in rows.sample.tolist()]
    for sample in rows.sample.tolist():
        cached.images(sample).zero_()
        (tmp_path / plain.stream.table.frame.loc[sample, "path"]).unlink()
    assert all(
        torch.equal(cached.images(sample), image) for sample, image in zip(rows.sample.tolist(), first, strict=True)
    )
    with pytest.raises(UnreadableImageError):
        plain.images(int(rows.sample[0]))


def test_images_cannot_be_cached_in_workers(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"num_workers is 2.*set data\.init_args\.num_workers to 0"):
        stream_of(frame, tmp_path, cache_images=True, num_workers=2)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_a_file_cut_anywhere_is_unreadable(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for share in (0.0, 0.02, 0.1, 0.5, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UnreadableImageError, match="cannot be read as an image"):
            decode_image(path)


def test_images_of_different_sizes_need_an_image_size(frame: pd.DataFrame, tmp_path: Path) -> None:
    Image.new("RGB", (12, 10)).save(tmp_path / "swap/1.png")
    with pytest.raises(FrameTableError, match=r"'real/0\.png' is 8x8, 'swap/1\.png' is 12x10.*image_size"):
        _ = stream_of(frame, tmp_path).stream
    data = stream_of(frame, tmp_path, image_size=6)
    (batch,) = list(data.rows_dataloader(data.stream.rows(0, "train")))
    assert batch["image"].shape == (12, 3, 6, 6)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_mode_become_grey_or_rgb(tmp_path: Path, mode: str, channels: Any) -> None:
    pixels = np.full((4, 5), 7 * 257, np.uint16) if mode == "I;16" else np.full((4, 5), 7, np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "x.png")
    image = decode_image(tmp_path / "x.png", channels)
    assert image.shape == (channels, 4, 5)
    assert image.dtype == torch.uint8
    assert (image == 7).all()


def test_grey_channels_reach_the_batch(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = stream_of(frame, tmp_path, channels=1)
    (batch,) = list(data.rows_dataloader(data.stream.rows(1, "test")))
    assert batch["image"].shape == (8, 1, 8, 8)
    assert batch["sample"].tolist() == data.stream.rows(1, "test").sample.tolist()


def test_two_tables_over_one_root_make_one_stream(frame: pd.DataFrame, tmp_path: Path) -> None:
    whole = stream_of(frame, tmp_path)
    tables: list[Reader] = [
        TableFile(str(tmp_path / "t.parquet"), where={"method": ["real", method]}) for method in ("swap", "paint")
    ]
    parts = ForgeryStream(tables, TASKS).stream
    assert parts.table.skipped_by_reason() == {"listed by two tables (kept once)": 12}
    paths = [
        {str(path) for path in stream.table.frame.loc[stream.rows(1, "train").sample.numpy(), "path"]}
        for stream in (parts, whole.stream)
    ]
    assert paths[0] == paths[1]
    assert len(paths[0]) == 12


def test_held_out_methods_are_tested_and_never_trained(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_table(FrameTable(frame, tmp_path), tmp_path / "t.parquet")
    data = ForgeryStream([TableFile(str(tmp_path / "t.parquet"))], TASKS[:1], held_out=["paint"])
    method = data.stream.table.frame["method"]
    member = data.stream.membership.assign(method=method.loc[data.stream.membership["sample"]].to_numpy())
    assert set(member.loc[member["method"] == "paint", "split"]) == {"test"}
    held_out = data.stream.rows(HELD_OUT, "test")
    assert sorted(method[held_out.sample.numpy()]) == ["paint"] * 4 + ["real"] * 4
    assert set(held_out.method.tolist()) == {0, -1}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("num", [1, 2, 7])
def test_processes_share_rows_and_step_together(
    toy_data: ToyData, monkeypatch: pytest.MonkeyPatch, world_size: int, num: int
) -> None:
    toy_data.eval_batch_size = 2 * world_size
    rows = toy_data.stream.rows(0, "test").pick(torch.arange(num))
    counted, steps = [], set()
    for rank in range(world_size):
        monkeypatch.setattr("continual_df.data.datamodule.rank_and_size", lambda rank=rank: (rank, world_size))
        batches = list(toy_data.rows_dataloader(rows))
        steps.add(len(batches))
        counted += [sample for batch in batches for sample in batch["sample"][batch["weight"] > 0].tolist()]
    assert len(steps) == 1
    assert sorted(counted) == sorted(rows.sample.tolist())


def test_no_rows_make_an_empty_loader(toy_data: ToyData) -> None:
    rows = toy_data.stream.rows(0, "test").pick(torch.arange(0))
    assert list(toy_data.rows_dataloader(rows)) == []


def test_the_order_of_the_tasks_stands_in_the_stream(frame: pd.DataFrame, tmp_path: Path) -> None:
    order = TaskOrder("date", dates={"swap": "2022-03", "paint": "2021-11-30"})
    stream = stream_of(frame, tmp_path, order=order).stream
    assert [task.name for task in stream.tasks] == ["paint", "swap"]
    assert [task.index for task in stream.tasks] == [0, 1]
    assert stream.tasks[1].class_ids == {"real": 0, "paint": 1, "swap": 2}
    assert stream.describe()["order"] == {
        "by": "date",
        "dates": {"swap": "2022-03", "paint": "2021-11-30"},
        "given": [1, 0],
        "task_dates": ["2021-11-30", "2022-03"],
    }
    assert stream_of(frame, tmp_path).stream.describe()["order"] == {"by": "given", "given": [0, 1]}


def test_an_order_that_does_not_fit_the_stream_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"no release of 'swap' \(task 1, 'swap'\)"):
        _ = stream_of(frame, tmp_path, order="date").stream
    with pytest.raises(ValueError, match="order is 'dat'"):
        stream_of(frame, tmp_path, order="dat")
    with pytest.raises(StreamError, match=r"none/results\.json' does not exist"):
        _ = stream_of(frame, tmp_path, order=TaskOrder("difficulty", run=str(tmp_path / "none"))).stream


def test_an_order_by_difficulty_reads_a_finished_run(frame: pd.DataFrame, tmp_path: Path) -> None:
    tasks = [{"name": name, "methods": [name]} for name in ("swap", "paint")]
    results = {"tasks": tasks, "matrices": {"auc": [[0.5, 0.5], [0.6, 0.5], [0.9, 0.8]]}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    stream = stream_of(frame, tmp_path, order=TaskOrder("difficulty", run=str(tmp_path))).stream
    assert [task.name for task in stream.tasks] == ["paint", "swap"]


TAKEN: dict[str, Any] = {"val_fraction": 0.33, "dev_test_fraction": 0.25}


def rows_of(stream: Stream, split: str) -> list[set[str]]:
    """Return the paths of each task's rows, and of those that belong to no task."""
    tasks = [*range(len(stream.tasks)), HELD_OUT]
    return [set(stream.table.frame.loc[stream.rows(task, split).sample.numpy(), "path"]) for task in tasks]


def test_dev_test_is_taken_by_group_from_what_validation_leaves(frame: pd.DataFrame, tmp_path: Path) -> None:
    before = stream_of(frame, tmp_path, val_fraction=0.33).stream
    stream = stream_of(frame, tmp_path, **TAKEN, evaluate_on="dev_test").stream
    assert stream.describe()["evaluated_on"] == "dev_test"
    assert splits_of(stream).value_counts().to_dict() == {"train": 3, "val": 2, "": 2, "test": 1}
    assert rows_of(stream, "val") == rows_of(before, "val")
    for own, trained, tested in zip(
        rows_of(stream, "test"), rows_of(before, "train"), rows_of(before, "test"), strict=True
    ):
        assert own <= trained
        assert not own & tested


@pytest.mark.parametrize("bare", [False, True])
def test_both_ways_to_evaluate_train_on_the_same_images(frame: pd.DataFrame, tmp_path: Path, bare: bool) -> None:
    options: dict[str, Any] = {**TAKEN, "reals": "split", "max_images": {"train": 2}}
    if bare:
        frame, options = frame.drop(columns="split"), {**options, "fractions": (0.6, 0.2, 0.2)}
    last, dev = (stream_of(frame, tmp_path, **options, evaluate_on=on).stream for on in ("test", "dev_test"))
    for split in ("train", "val"):
        assert rows_of(last, split) == rows_of(dev, split)
    used = [set.union(*(path for split in ("train", "val", "test") for path in rows_of(s, split))) for s in (last, dev)]
    for one, other in ((last, used[1]), (dev, used[0])):
        for tested in rows_of(one, "test"):
            assert not tested & other
    assert "dev_test" not in set(last.membership["split"]) | set(dev.membership["split"])


def test_a_run_on_dev_test_reads_no_test_image(frame: pd.DataFrame, tmp_path: Path) -> None:
    table = FrameTable(frame, tmp_path)
    table.frame = table.frame.assign(hash=hash_files(table))
    for path in table.frame.loc[table.frame["split"] == "test", "path"]:
        (tmp_path / path).write_text("not an image")
    with pytest.raises(FrameTableError, match="are not those that were hashed"):
        _ = stream_of(table.frame, tmp_path, **TAKEN).stream
    stream = stream_of(table.frame, tmp_path, **TAKEN, evaluate_on="dev_test", hash_files=True).stream
    unread = stream.table.frame["split"] == "test"
    assert len(stream.table) == 36
    assert set(stream.table.frame.loc[unread, "hash"]) == {""}
    assert "" not in set(stream.table.frame.loc[~unread, "hash"])


def test_unreadable_images_of_dev_test_are_not_missed_by_a_run_on_test(frame: pd.DataFrame, tmp_path: Path) -> None:
    dev = stream_of(frame, tmp_path, **TAKEN, evaluate_on="dev_test").stream
    spoilt = sorted(set.union(*rows_of(dev, "test")))
    for path in spoilt:
        (tmp_path / path).write_text("not an image")
    assert len(stream_of(frame, tmp_path, **TAKEN).stream.table) == 36
    with pytest.raises(FrameTableError, match="3 of 24 images are unreadable"):
        _ = stream_of(frame, tmp_path, **TAKEN, evaluate_on="dev_test").stream


def test_a_table_may_carry_dev_test_of_its_own(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.loc[frame["group"] == "g0", "split"] = "dev_test"
    last, dev = (stream_of(frame, tmp_path, evaluate_on=on).stream for on in ("test", "dev_test"))
    assert splits_of(last).value_counts().to_dict() == {"train": 5, "val": 2, "test": 4}
    assert splits_of(dev).value_counts().to_dict() == {"train": 5, "val": 2, "test": 1}
    assert rows_of(dev, "test")[0] == {"real/0.png", "swap/0.png"}
    kept = stream_of(frame, tmp_path, evaluate_on="dev_test", dev_test_fraction=0.4).stream
    assert rows_of(kept, "test") == rows_of(dev, "test")


def test_evaluating_on_dev_test_without_any_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(
        StreamError, match=r"Task 1 \('swap'\) has no images in split 'dev_test': set dev_test_fraction"
    ):
        _ = stream_of(frame, tmp_path, evaluate_on="dev_test").stream


def test_held_out_methods_are_tested_on_what_is_evaluated(frame: pd.DataFrame, tmp_path: Path) -> None:
    write_table(FrameTable(frame, tmp_path), tmp_path / "t.parquet")
    table = TableFile(str(tmp_path / "t.parquet"))
    data = ForgeryStream([table], TASKS[:1], held_out=["paint"], dev_test_fraction=0.34, evaluate_on="dev_test")
    held_out = rows_of(data.stream, "test")[-1]
    assert {path.split("/")[0] for path in held_out} == {"real", "paint"}
    split = frame.set_index("path")["split"]
    assert set(split[list(held_out)]) == {"train"}


def test_training_images_come_with_the_number_of_their_group(frame: pd.DataFrame, tmp_path: Path) -> None:
    data = stream_of(frame, tmp_path)
    data.begin_task(0, [Source(data.stream.rows(0, "train"), 12)])
    (batch,) = data.train_dataloader()
    names = data.stream.table.frame["group"].to_numpy()[batch["sample"].numpy()]
    same_BB = (batch["group"][:, None] == batch["group"]).numpy()
    assert len(names) == 12
    assert np.array_equal(same_BB, names[:, None] == names)
