from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from continual_df.audit.shortcut import Comparison, probe_domains, probe_methods

NUM = 120


class Builder:
    """Images by method and domain, with statistics that differ where a test says so."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.rows: list[pd.DataFrame] = []
        self.statistics: list[pd.DataFrame] = []

    def add(self, method: str, source: str, split: str | None = None, codec: str = "JPEG", **shift: float) -> None:
        start = sum(map(len, self.rows))
        index = pd.RangeIndex(start, start + NUM)
        splits = np.resize(["train", "test"], NUM) if split is None else split
        groups = [f"{source}{i}" for i in range(NUM)]
        self.rows.append(
            pd.DataFrame({"sample": index, "method": method, "source": source, "group": groups, "split": splits})
        )
        numbers = {"log_file_size": 8.0, "mean": 100.0, "std": 50.0, "log_laplacian": 5.0}
        columns: dict[str, object] = {
            name: value + shift.get(name, 0) + self.rng.normal(size=NUM) for name, value in numbers.items()
        }
        plain = {"size": "8x8", "log_pixels": 4.0, "aspect": 1.0, "jpeg_quality": 92.0}
        columns |= plain | {"codec": codec, "colour": "RGB", "subsampling": "4:2:0"}
        self.statistics.append(pd.DataFrame(columns, index=index))

    @property
    def data(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return pd.concat(self.rows, ignore_index=True), pd.concat(self.statistics)


@pytest.fixture
def builder() -> Builder:
    made = Builder()
    made.add("real", "ff")
    return made


def one(found: list[Comparison]) -> Comparison:
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(("column", "name"), [("log_file_size", "file size"), ("log_laplacian", "sharpness")])
def test_a_statistic_that_gives_a_method_away_is_flagged_and_named(builder: Builder, column: str, name: str) -> None:
    shift: dict[str, Any] = {column: 3.0}
    builder.add("swap", "ff", **shift)
    found = one(probe_methods(*builder.data))
    assert found.high
    assert found.within
    assert found.probe is not None
    assert found.probe.features[0][0] == name
    assert found.probe.features[0][1] > 0.95


def test_a_method_that_is_only_tested_is_compared_with_the_reals_of_the_test_split(builder: Builder) -> None:
    builder.rows.clear()
    builder.statistics.clear()
    for method, split, shift in (("real", "train", 0.0), ("real", "test", 4.0), ("held_out", "test", 4.0)):
        builder.add(method, "ff", split=split, mean=shift)  # its people are brighter, and so are its fakes
    found = one(probe_methods(*builder.data))
    assert found.probe is not None
    assert found.probe.folds is not None
    assert found.probe.folds < 0.65
    assert sum(sum(counts) for counts in found.probe.counts.values()) == 2 * NUM


def test_fakes_in_another_codec_are_flagged(builder: Builder) -> None:
    builder.add("swap", "ff", codec="PNG")
    found = one(probe_methods(*builder.data))
    assert found.probe is not None
    assert found.probe.auc == 1
    assert {name for name, auc in found.probe.features if auc == 1} == {"codec PNG", "codec JPEG"}


def test_a_method_like_its_reals_is_not_flagged(builder: Builder) -> None:
    builder.add("swap", "ff")
    found = one(probe_methods(*builder.data))
    assert not found.high
    assert found.probe is not None
    assert found.probe.test is not None
    assert found.probe.test.low < 0.5 < found.probe.test.high


def test_a_method_is_compared_with_the_reals_of_its_own_domain_only(builder: Builder) -> None:
    builder.add("real", "celeba", mean=20)
    builder.add("swap", "celeba", mean=20)
    found = one(probe_methods(*builder.data))
    assert found.against == "celeba"
    assert not found.high


def test_a_method_of_two_domains_is_probed_in_each(builder: Builder) -> None:
    builder.add("real", "celeba", mean=20)
    builder.add("swap", "celeba", mean=20)
    builder.add("swap", "ff", mean=4)
    found = probe_methods(*builder.data)
    assert [(item.name, item.against, item.high) for item in found] == [("swap", "celeba", False), ("swap", "ff", True)]


def test_a_method_without_reals_of_its_domain_is_probed_against_all_and_said_so(builder: Builder) -> None:
    builder.add("real", "celeba")
    builder.add("swap", "elsewhere", mean=5)
    found = one(probe_methods(*builder.data))
    assert (found.against, found.within, found.high) == ("celeba, ff", False, True)
    assert found.notes == ("no reals in 'elsewhere': probed against those of all other domains",)


def test_reals_of_every_two_domains_are_probed(builder: Builder) -> None:
    builder.add("real", "celeba", mean=6)
    builder.add("real", "dfdc")
    builder.add("swap", "dfdc", mean=50)
    found = probe_domains(*builder.data)
    assert [(item.name, item.against, item.high, item.within) for item in found] == [
        ("ff", "celeba", True, False),
        ("ff", "dfdc", False, False),
        ("celeba", "dfdc", True, False),
    ]


def test_one_domain_has_no_other_to_differ_from(builder: Builder) -> None:
    assert probe_domains(*builder.data) == []


def test_a_control_is_a_side_of_its_own(builder: Builder) -> None:
    builder.add("null_reencode", "ff", log_file_size=5)
    found = one(probe_methods(*builder.data))
    assert (found.name, found.high) == ("null_reencode", True)


def test_unreadable_images_are_left_out_and_none_at_all_is_no_result(builder: Builder) -> None:
    builder.add("swap", "ff")
    rows, statistics = builder.data
    found = one(probe_methods(rows, statistics.drop(index=range(10))))
    assert found.probe is not None
    assert sum(found.probe.counts["train"]) == NUM - 5
    nothing = one(probe_methods(rows, statistics.drop(index=range(NUM, 2 * NUM))))
    assert nothing.probe is None
    assert not nothing.high


def test_held_out_methods_without_training_rows_are_probed_by_folds(builder: Builder) -> None:
    builder.add("novel", "ff", split="test", mean=3)
    found = one(probe_methods(*builder.data))
    assert found.high
    assert found.probe is not None
    assert found.probe.test is None


def test_an_image_in_two_splits_counts_in_both(builder: Builder) -> None:
    builder.add("swap", "ff")
    rows, statistics = builder.data
    again = rows[rows["split"] == "train"].assign(split="test")
    found = one(probe_methods(pd.concat([rows, again], ignore_index=True), statistics))
    assert found.probe is not None
    assert found.probe.counts["test"] == (NUM, NUM)
