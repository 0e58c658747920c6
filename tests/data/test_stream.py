from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from continual_df.data.frame_table import FrameTable
from continual_df.data.stream import HELD_OUT, Stream, TaskSpec, build_stream
from continual_df.errors import StreamError

SPLITS = ("train", "val", "test")


def table(fakes: dict[str, str], reals: dict[str, int], per_split: int = 6) -> FrameTable:
    """Fakes as method -> source, reals as source -> images a split; row i of a source shares group i."""
    rows = []
    for source, count in reals.items():
        for split in SPLITS:
            rows += [
                [f"{source}/{split}/{i}.png", 0, "real", source, f"{source}{split}{i}", split] for i in range(count)
            ]
    for method, source in fakes.items():
        for split in SPLITS:
            rows += [
                [f"{method}/{split}/{i}.png", 1, method, source, f"{source}{split}{i}", split] for i in range(per_split)
            ]
    columns = ["path", "label", "method", "source", "group", "split"]
    return FrameTable(pd.DataFrame(rows, columns=columns), Path())


def paths(stream: Stream, task: int, split: str) -> set[str]:
    return set(stream.table.frame.loc[stream.rows(task, split).sample.numpy(), "path"])


TWO_DOMAINS = ({"a": "x", "b": "x", "c": "y"}, {"x": 12, "y": 8})


def test_each_task_sees_the_reals_of_its_own_domain_only() -> None:
    stream = build_stream(table(*TWO_DOMAINS), [TaskSpec(["a"]), TaskSpec(["c"])])
    for split in SPLITS:
        assert {path.split("/")[0] for path in paths(stream, 0, split)} == {"a", "x"}
        assert {path.split("/")[0] for path in paths(stream, 1, split)} == {"c", "y"}


def test_reuse_gives_every_task_all_reals_of_its_domain() -> None:
    stream = build_stream(table(*TWO_DOMAINS), [TaskSpec(["a"]), TaskSpec(["b"])], reals="reuse")
    assert {p for p in paths(stream, 0, "train") if p[0] == "x"} == {
        p for p in paths(stream, 1, "train") if p[0] == "x"
    }
    assert len(stream.rows(0, "train").sample) == 18


def test_split_gives_each_real_to_one_task_and_loses_none() -> None:
    specs = [TaskSpec(["a"]), TaskSpec(["b"]), TaskSpec(["c"])]
    stream = build_stream(table(*TWO_DOMAINS), specs, reals="split")
    for split in SPLITS:
        shares = [{p for p in paths(stream, task, split) if p[0] in "xy"} for task in range(3)]
        assert [len(share) for share in shares] == [6, 6, 8]
        assert len(set.union(*shares)) == 20


def test_split_keeps_the_frames_of_a_real_video_in_one_task() -> None:
    data = table({"a": "x", "b": "x"}, {"x": 12})
    data.frame.loc[data.frame["label"] == 0, "group"] = [f"v{i // 4}" for i in range(36)]
    stream = build_stream(data, [TaskSpec(["a"]), TaskSpec(["b"])], reals="split")
    frame = data.frame.loc[stream.membership["sample"]].assign(task=stream.membership["task"].to_numpy())
    assert (frame[frame["label"] == 0].groupby("group")["task"].nunique() == 1).all()


def test_class_ids_are_stable_and_in_order_of_appearance() -> None:
    stream = build_stream(table(*TWO_DOMAINS), [TaskSpec(["c"]), TaskSpec(["a", "b"])])
    assert stream.tasks[0].class_ids == {"real": 0, "c": 1}
    assert stream.tasks[1].class_ids == {"real": 0, "c": 1, "a": 2, "b": 3}
    assert set(stream.rows(1, "train").method.tolist()) == {0, 2, 3}


def test_unlabelled_rows_carry_no_label_and_their_method_is_tested_as_held_out() -> None:
    stream = build_stream(table(*TWO_DOMAINS), [TaskSpec(["a"], unlabelled=["b"])])
    rows = stream.rows(0, "unlabelled")
    assert rows.num == 6
    assert set(rows.label.tolist()) == set(rows.method.tolist()) == {-1}
    assert stream.held_out == ("b",)
    assert {p.split("/")[0] for p in paths(stream, HELD_OUT, "test")} == {"b", "x"}


def test_held_out_methods_are_in_no_task() -> None:
    stream = build_stream(table(*TWO_DOMAINS), [TaskSpec(["a"])], held_out=["c"])
    inside = stream.table.frame.loc[stream.membership.loc[stream.membership["task"] == 0, "sample"], "method"]
    assert set(inside) == {"real", "a"}
    assert {p.split("/")[0] for p in paths(stream, HELD_OUT, "test")} == {"c", "y"}


def test_sizes_keep_a_real_and_its_fake_together() -> None:
    stream = build_stream(table({"a": "x"}, {"x": 6}), [TaskSpec(["a"])], max_images={"train": 3})
    frame = stream.table.frame.loc[stream.rows(0, "train").sample.numpy()]
    assert frame["label"].value_counts().to_dict() == {0: 3, 1: 3}
    assert set(frame.loc[frame["label"] == 0, "group"]) == set(frame.loc[frame["label"] == 1, "group"])
    assert stream.rows(0, "val").num == 12


def test_shared_real_domain_gives_all_tasks_domain_zero() -> None:
    specs = [TaskSpec(["a"]), TaskSpec(["b"])]
    assert [t.real_domain for t in build_stream(table(*TWO_DOMAINS), specs, real_domain="shared").tasks] == [0, 0]
    assert [t.real_domain for t in build_stream(table(*TWO_DOMAINS), specs, real_domain="task").tasks] == [0, 1]


def test_an_unknown_method_is_named_with_its_neighbour() -> None:
    with pytest.raises(StreamError, match=r"'stargann' in task 1.*did you mean 'stargan'"):
        build_stream(table({"stargan": "x"}, {"x": 6}), [TaskSpec(["stargann"])])


def test_a_method_is_found_under_its_other_names() -> None:
    stream = build_stream(table({"sd2.1": "x"}, {"x": 6}), [TaskSpec(["sd21"])])
    assert stream.tasks[0].methods == ("sd2.1",)


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_split_is_refused(split: str) -> None:
    data = table({"a": "x"}, {"x": 6})
    gone = (data.frame["split"] == split) & (data.frame["label"] == 1)
    data.frame = data.frame[~gone].reset_index(drop=True)
    with pytest.raises(StreamError, match=f"no fakes in split '{split}'"):
        build_stream(data, [TaskSpec(["a"])])


def test_the_hash_tells_streams_apart() -> None:
    data = table(*TWO_DOMAINS)
    one = build_stream(data, [TaskSpec(["a"]), TaskSpec(["b"])])
    assert one.describe()["hash"] == build_stream(data, [TaskSpec(["a"]), TaskSpec(["b"])]).describe()["hash"]
    assert one.describe()["hash"] != build_stream(data, [TaskSpec(["b"]), TaskSpec(["a"])]).describe()["hash"]
    assert one.describe()["tasks"][0]["counts"]["train"] == {"a": 6, "real": 12}


def test_tasks_of_the_same_sources_can_share_a_real_domain() -> None:
    specs = [TaskSpec(["a"]), TaskSpec(["b"]), TaskSpec(["c"])]
    streams = build_stream(table({"a": "x", "b": "y", "c": "x"}, {"x": 4, "y": 4}), specs, real_domain="source")
    assert [task.real_domain for task in streams.tasks] == [0, 1, 0]


def test_a_share_of_each_class_keeps_its_labels_by_group() -> None:
    stream = build_stream(table({"a": "x", "b": "x"}, {"x": 12}), [TaskSpec(["a"], unlabelled=["b"], labelled=0.5)])
    frame = stream.table.frame
    train, without = stream.rows(0, "train"), stream.rows(0, "unlabelled")
    assert frame.loc[train.sample.numpy(), "method"].value_counts().to_dict() == {"real": 6, "a": 3}
    assert frame.loc[without.sample.numpy(), "method"].value_counts().to_dict() == {"real": 6, "a": 3, "b": 6}
    assert set(without.label.tolist()) == set(without.method.tolist()) == {-1}
    assert stream.rows(0, "val").num == 18


def test_the_frames_of_a_video_keep_or_lose_their_labels_together() -> None:
    rows = table({"a": "x"}, {"x": 12}, per_split=12)
    rows.frame["group"] = rows.frame["split"] + (rows.frame.groupby(["method", "split"]).cumcount() // 4).astype(str)
    stream = build_stream(rows, [TaskSpec(["a"], labelled=0.5)])
    group = {s: set(rows.frame.loc[stream.rows(0, s).sample.numpy(), "group"]) for s in ("train", "unlabelled")}
    assert not group["train"] & group["unlabelled"]
    assert len(group["train"]) == 2


def test_tags_say_which_images_have_a_label() -> None:
    rows = table({"a": "x"}, {"x": 6})
    rows.frame["tag"] = [2 if path.endswith(("0.png", "1.png")) else 1 for path in rows.frame["path"]]
    stream = build_stream(rows, [TaskSpec(["a"], labelled="tag")])
    assert {path[-5] for path in paths(stream, 0, "unlabelled")} == {"0", "1"}
    assert {path[-5] for path in paths(stream, 0, "train")} == {"2", "3", "4", "5"}


@pytest.mark.parametrize("labelled", [0.0, -0.1, 1.5, "tag"])
def test_a_share_that_is_none_and_tags_that_are_not_there_are_refused(labelled: float) -> None:
    with pytest.raises(StreamError, match="labelled"):
        build_stream(table({"a": "x"}, {"x": 6}), [TaskSpec(["a"], labelled=labelled)])


def test_a_method_of_one_source_is_a_class_of_its_own() -> None:
    rows = table({"a": "x", "b": "y"}, {"x": 6, "y": 6})
    rows.frame["method"] = rows.frame["method"].replace("b", "a")
    stream = build_stream(rows, [TaskSpec(["a@x"], unlabelled=["a@y", "real@y"])])
    assert stream.tasks[0].class_ids == {"real": 0, "a@x": 1}
    assert {path.split("/")[0] for path in paths(stream, 0, "train")} == {"x", "a"}
    assert {path.split("/")[0] for path in paths(stream, 0, "unlabelled")} == {"y", "b"}
    assert stream.held_out == ("a@y", "real@y")
    assert stream.describe()["tasks"][0]["counts"]["unlabelled"] == {"a@y": 6, "real@y": 6}


def test_without_reals_a_task_is_fakes_alone() -> None:
    stream = build_stream(table({"a": "x", "b": "x"}, {"x": 6}), [TaskSpec(["a"], unlabelled=["b"])], reals="none")
    assert set(stream.table.frame.loc[stream.membership["sample"], "method"]) == {"a", "b"}


def test_revealed_labels_are_those_of_the_classes_that_no_task_names() -> None:
    specs = [TaskSpec(["a"], unlabelled=["b"], labelled=0.5)]
    rows = build_stream(table({"a": "x", "b": "x"}, {"x": 12}), specs, reveal=True).rows(0, "unlabelled")
    assert sorted(set(zip(rows.label.tolist(), rows.method.tolist(), strict=True))) == [(0, 0), (1, 1), (1, 2)]


def test_revealed_ids_are_those_of_the_first_novel_heads_whatever_is_held_out() -> None:
    made = table({"a": "x", "b": "x", "c": "x"}, {"x": 12})
    rows = build_stream(made, [TaskSpec(["a"], unlabelled=["c"])], held_out=["b"], reveal=True).rows(0, "unlabelled")
    assert set(rows.method.tolist()) == {2}


def test_labels_of_several_tasks_are_not_revealed() -> None:
    specs = [TaskSpec(["a"], unlabelled=["b"]), TaskSpec(["b"])]
    with pytest.raises(StreamError, match="reveal_unlabelled is the upper bound of one task, but the stream has 2"):
        build_stream(table({"a": "x", "b": "x"}, {"x": 12}), specs, reveal=True)


def test_names_of_novel_methods_decide_nothing_but_what_is_tested() -> None:
    def train(first: str, second: str) -> list[list[int]]:
        made = table({"a": "x", "b": "x", "c": "x"}, {"x": 12})
        made.frame["method"] = made.frame["method"].map({"b": first, "c": second}).fillna(made.frame["method"])
        stream = build_stream(made, [TaskSpec(["a"], unlabelled=["b", "c"], labelled=0.5)])
        return [[column.tolist() for column in stream.rows(0, split)] for split in ("train", "val", "unlabelled")]  # type: ignore[misc]

    assert train("b", "c") == train("c", "b")


def test_a_tag_takes_images_without_a_label_out_of_validation() -> None:
    rows = table({"a": "x"}, {"x": 6})
    rows.frame["tag"] = [2 if path.endswith("0.png") else 1 for path in rows.frame["path"]]
    stream = build_stream(rows, [TaskSpec(["a"], labelled="tag")])
    assert not any(path.endswith("0.png") for path in paths(stream, 0, "val"))
    assert stream.rows(0, "test").num == 12


def test_other_counts_than_the_stream_names_are_refused() -> None:
    specs = [TaskSpec(["a"])]
    build_stream(table({"a": "x"}, {"x": 6}), specs, counts={"a": 18, "real": 18})
    with pytest.raises(StreamError, match=r"a: 18 in place of 17, b: 0 in place of 1\)"):
        build_stream(table({"a": "x"}, {"x": 6}), specs, counts={"a": 17, "b": 1, "real": 18})


def test_a_task_may_come_again_under_a_name_of_its_own() -> None:
    specs = [TaskSpec(["a"]), TaskSpec(["b"], name="a (2)"), TaskSpec(["a"]), TaskSpec(["b"]), TaskSpec(["a"])]
    stream = build_stream(table(*TWO_DOMAINS), specs)
    assert [task.name for task in stream.tasks] == ["a", "a (2)", "a (3)", "b", "a (4)"]
    assert [task.index for task in stream.tasks] == [0, 1, 2, 3, 4]
    assert stream.tasks[2].class_ids == {"real": 0, "a": 1, "b": 2}
    for split in SPLITS:
        assert paths(stream, 0, split) == paths(stream, 2, split)
        assert set(stream.rows(2, split).task.tolist()) == {2}


def test_one_name_stands_for_all_classes_that_begin_with_it() -> None:
    data = table({"mnist.1": "x", "mnist.0": "x", "mnist": "x", "mnist2.0": "y"}, {"x": 6, "y": 6})
    stream = build_stream(data, [TaskSpec(["mnist.*"]), TaskSpec(["mnist2.*", "mnist"])], reals="none")
    assert [task.methods for task in stream.tasks] == [("mnist.0", "mnist.1"), ("mnist2.0", "mnist")]
    assert [task.name for task in stream.tasks] == ["mnist", "mnist2+mnist"]
    with pytest.raises(StreamError, match=r"Unknown method 'cifar\.\*' in task 1"):
        build_stream(data, [TaskSpec(["cifar.*"])])


def test_dev_test_is_called_test_where_it_is_evaluated_and_is_nowhere_else() -> None:
    data = table({"a": "x"}, {"x": 6})
    data.frame.loc[data.frame["path"].str.contains("train/0"), "split"] = "dev_test"
    last = build_stream(data, [TaskSpec(["a"])], max_images={"test": 3})
    dev = build_stream(data, [TaskSpec(["a"])], max_images={"test": 3}, evaluate_on="dev_test")
    assert paths(dev, 0, "test") == {"a/train/0.png", "x/train/0.png"}
    assert len(paths(last, 0, "test")) == 6
    assert paths(last, 0, "train") == paths(dev, 0, "train")
    assert set(last.membership["split"]) == set(dev.membership["split"]) == set(SPLITS)
    assert (last.evaluated_on, dev.evaluated_on) == ("test", "dev_test")
    assert last.describe()["hash"] != dev.describe()["hash"]
