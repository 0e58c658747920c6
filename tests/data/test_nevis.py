from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.data.nevis import Event, class_folders, find_events, stream_settings, streams
from continual_df.errors import ConfigError, DatasetNotFoundError


def test_the_streams_have_as_many_events_as_in_the_released_code() -> None:
    found = streams()
    assert {name: len(events) for name, events in found.items()} == {"FULL": 106, "SHORT": 29, "TINY": 7}
    for name, before_2019, before_2020, distinct in (("FULL", 79, 92, 97), ("SHORT", 24, 25, 28), ("TINY", 6, 6, 6)):
        years = [event.year for event in found[name]]
        assert years == sorted(years)
        assert sum(year < 2019 for year in years) == before_2019
        assert sum(year < 2020 for year in years) == before_2020
        assert len({event.dataset for event in found[name]}) == distinct
        assert [event.position for event in found[name]] == list(range(len(years)))


def test_the_tiny_stream_is_as_published() -> None:
    names = [event.dataset for event in streams()["TINY"]]
    melanoma = "ISBI-ISIC 2017 melanoma classification challenge"
    assert names == ["MNIST", "Caltech 101", "Pascal 2012", "CIFAR 100", "MNIST", melanoma, "CUB 200"]


def test_a_data_set_has_one_folder_kind_and_number_of_classes_in_all_streams() -> None:
    facts = {
        (event.dataset, event.folder, event.kind, event.num_classes)
        for events in streams().values()
        for event in events
    }
    assert len(facts) == len({dataset for dataset, *_ in facts}) == len({folder for _, folder, *_ in facts})
    multi = {dataset for dataset, _, kind, _ in facts if kind == "multi-label"}
    assert multi == {
        "AWA2",
        "BIWI",
        "CelebA",
        "IAPRTC-12",
        "NIH Chest X-ray",
        "Pascal 2007",
        "Pascal 2012",
        "SUN Attribute",
        "VOC Actions",
    }
    assert [dataset for dataset, _, _, num in sorted(facts, key=str) if num is None] == [
        "Aberdeen face database.",
        "AnimalWeb",
        "MS COCO",
        "ShanghaiTech",
        "VisTex",
    ]


def folders(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).mkdir(parents=True)
    return root


def test_events_are_found_by_their_folder_or_their_name_in_any_case(tmp_path: Path) -> None:
    root = folders(tmp_path, "MNIST/0", "caltech 101/cat", "voc_2012/cat", "other")
    found = find_events(streams()["TINY"], str(root))
    assert [(event.position, path.name) for event, path in found.present] == [
        (0, "MNIST"),
        (1, "caltech 101"),
        (4, "MNIST"),
    ]
    assert [event.position for event in found.multi_label] == [2]
    assert [event.position for event in found.absent] == [3, 5, 6]


def test_a_folder_without_data_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No single-label data set.*such as 'mnist', with its classes in <class>/"):
        find_events(streams()["TINY"], str(folders(tmp_path, "voc_2012/cat")))
    with pytest.raises(DatasetNotFoundError):
        find_events(streams()["TINY"], str(tmp_path / "none"))


def test_classes_and_splits_are_those_of_the_folders(tmp_path: Path) -> None:
    root = folders(tmp_path, "a/train/0", "a/train/1", "a/test/2", "a/dev-test/0", "b/0", "b/.hidden")
    assert class_folders(root / "a") == ({"0", "1", "2"}, {"train", "test", "dev_test"})
    assert class_folders(root / "b") == ({"0"}, set())


def test_shares_are_those_of_nevis(tmp_path: Path) -> None:
    root = folders(tmp_path, "split/train/0", "split/test/0", "whole/train/0", "whole/val/0", "whole/test/0", "bare/0")

    def made(*names: str) -> dict[str, object]:
        present = [(Event(i, 2000, name, name, "single-label", None), root / name) for i, name in enumerate(names)]
        settings: dict[str, object] = stream_settings("FULL", present)["data"]["init_args"]
        return settings

    settings = made("bare", "split")
    train, val, test = settings["fractions"]  # type: ignore[misc]
    dev_test = settings["dev_test_fraction"]
    assert train * (1 - dev_test) == pytest.approx(0.56, abs=1e-4)  # type: ignore[operator, has-type]
    assert (val, test) == (0.12, 0.2)  # type: ignore[has-type]
    assert 0.85 * dev_test == pytest.approx(0.15, abs=1e-4)  # type: ignore[operator]
    assert settings["val_fraction"] == 0.15
    assert made("bare", "whole")["val_fraction"] == 0.0
