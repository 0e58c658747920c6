from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from continual_df.data.readers import DeepfakeBench
from continual_df.data.readers.deepfakebench import spread
from continual_df.errors import DatasetNotFoundError, FrameTableError

Tree = Callable[..., tuple[Path, Path]]


def frames(folder: str, num: int = 3) -> list[str]:
    return [f"{folder}/{i:03d}.png" for i in range(num)]


def simswap() -> dict[str, dict[str, dict[str, list[str]]]]:
    return {
        "simswap_Real": {"train": {"000": frames("real/000")}, "test": {"005": frames("real/005")}},
        "simswap_Fake": {"train": {"000_003": frames("simswap/ff/frames/000_003")}},
    }


@pytest.mark.parametrize("compression", [None, "c23"])
@pytest.mark.parametrize("separator", ["/", "\\"])
@pytest.mark.parametrize("prefix", ["", "./", "deepfakes_detection_datasets/DF40/"])
def test_reads_every_way_in_which_paths_are_written(
    deepfakebench_tree: Tree, compression: str | None, separator: str, prefix: str
) -> None:
    index, root = deepfakebench_tree(
        "simswap_ff", simswap(), compression=compression, separator=separator, prefix=prefix
    )
    table = DeepfakeBench([str(index)], str(root)).read()
    assert not table.skipped
    assert all((root / path).is_file() for path in table.frame["path"])
    fake = table.frame[table.frame["label"] == 1]
    assert len(table) == 9
    assert fake["path"].tolist() == frames("simswap/ff/frames/000_003")
    assert set(fake["method"]) == {"simswap"}
    assert set(fake["source"]) == {"ff"}
    assert set(fake["group"]) == {"ff/000"}
    assert set(fake["identity"]) == {"ff/000|ff/003"}
    assert set(fake["video"]) == {"simswap_ff/simswap_Fake/000_003"}
    real = table.frame[table.frame["method"] == "real"]
    assert set(zip(real["group"], real["identity"], real["split"], strict=True)) == {
        ("ff/000", "ff/000", "train"),
        ("ff/005", "ff/005", "test"),
    }


@pytest.mark.parametrize(
    ("listed", "on_disk"),
    [
        ("PixArt/ff/frames/000", "pixart/ff/000"),  # EFS without frames/, another case
        ("pixart/ff/000", "PixArt/ff/frames/000"),
        ("danet/ff/frames/000", "DaGAN/ff/frames/000"),  # another name of the method
        ("stargan/fake", "stargan/fake/fake"),
        ("stargan/fake/fake", "stargan/fake"),
        ("whichfaceisreal/fake", "Whichisreal/fake"),
    ],
)
def test_finds_folders_that_differ_between_copies(tmp_path: Path, listed: str, on_disk: str) -> None:
    (tmp_path / "images" / on_disk).mkdir(parents=True)
    (tmp_path / "images" / on_disk / "007.PNG").write_bytes(b"x")
    index = tmp_path / "pixart_ff.json"
    entry = {"label": "pixart_Fake", "frames": [f"x/DF40/{listed}/007.png"]}
    index.write_text(json.dumps({"pixart_ff": {"pixart_Fake": {"test": {"000": entry}}}}))
    table = DeepfakeBench([str(index)], str(tmp_path / "images")).read()
    assert table.frame["path"].tolist() == [f"{on_disk}/007.PNG"]


def test_empty_videos_missing_files_and_malformed_entries_are_listed(deepfakebench_tree: Tree) -> None:
    classes = {"sd2.1_Fake": {"train": {"000": frames("sd2.1/ff/000"), "001": []}}}
    index, root = deepfakebench_tree("sd2.1_ff", classes, missing=("sd2.1/ff/000/001.png",))
    content = json.loads(index.read_text())
    content["sd2.1_ff"]["sd2.1_Fake"]["train"]["002"] = "oops"
    index.write_text(json.dumps(content))
    table = DeepfakeBench([str(index)], str(root)).read()
    assert table.frame["path"].tolist() == ["sd2.1/ff/000/000.png", "sd2.1/ff/000/002.png"]
    assert table.skipped_by_reason() == {
        "file missing": 1,
        "empty video": 1,
        "malformed entry: no list 'frames'": 1,
    }
    assert any("sd2.1/ff/000/001.png" in item.entry for item in table.skipped)


def test_frames_are_spread_over_the_video_in_numeric_order(deepfakebench_tree: Tree) -> None:
    listed = [f"simswap/ff/frames/000_003/{i}.png" for i in (10, 2, 0, 100, 50, 7, 30)]
    index, root = deepfakebench_tree("simswap_ff", {"simswap_Fake": {"test": {"000_003": listed}}})
    table = DeepfakeBench([str(index)], str(root), frames_per_video=3).read()
    assert [Path(path).stem for path in table.frame["path"]] == ["0", "10", "100"]
    everything = DeepfakeBench([str(index)], str(root), frames_per_video=None).read()
    assert [Path(path).stem for path in everything.frame["path"]] == ["0", "2", "7", "10", "30", "50", "100"]


def test_spread_hits_both_ends_and_is_never_the_first_ones() -> None:
    assert spread(32, 8) == [0, 4, 9, 13, 18, 22, 27, 31]
    assert spread(300, 1) == [0]
    assert spread(5, 8) == [0, 1, 2, 3, 4]
    for num in range(1, 40):
        for limit in range(2, num + 1):
            picked = spread(num, limit)
            assert len(set(picked)) == limit
            assert (picked[0], picked[-1]) == (0, num - 1)


def test_stems_that_are_no_numbers_are_read(deepfakebench_tree: Tree) -> None:
    listed = [f"e4e/ff/000/{name}.png" for name in ("img_10", "img_9", "cover")]
    index, root = deepfakebench_tree("e4e_ff", {"e4e_Fake": {"test": {"000": listed}}})
    table = DeepfakeBench([str(index)], str(root)).read()
    assert [Path(path).stem for path in table.frame["path"]] == ["cover", "img_9", "img_10"]


def test_flat_class_folders_hold_stills_that_are_never_thinned_out(deepfakebench_tree: Tree) -> None:
    classes = {
        "stargan_Real": {"test": {"real": frames("stargan/real/real", 40)}},
        "stargan_Fake": {"test": {"fake": frames("stargan/fake/fake", 40)}},
    }
    index, root = deepfakebench_tree("stargan", classes)
    frame = DeepfakeBench([str(index)], str(root), frames_per_video=8).read().frame
    assert len(frame) == 80
    assert frame["video"].nunique() == 80
    assert frame["group"].nunique() == 40  # the real and the edit of one photo stand together
    assert set(frame["source"]) == {"celeba"}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("FF-real", (0, "real")),
        ("FF-DF", (1, "deepfakes")),
        ("FF-FS", (1, "faceswap_ff")),
        ("faceswap_Fake", (1, "faceswap")),
        ("whichisreal_Fake", (1, "whichisreal")),
        ("whichisreal_Real", (0, "real")),
        ("DFDCP_FakeA", (1, "dfdcp_a")),
        ("CelebDFv2_fake", (1, "celebdf")),
        ("Collaborative_Diffusion_Fake", (1, "collabdiff")),
        ("rddm_Fake", (1, "rddm")),
        ("MyOwnGAN_Fake", (1, "myowngan")),
        ("null_codec_Fake", (0, "null_codec")),
    ],
)
def test_class_labels_become_label_and_canonical_method(
    deepfakebench_tree: Tree, label: str, expected: tuple[int, str]
) -> None:
    index, root = deepfakebench_tree("some", {label: {"test": {"7": frames("a/7", 1)}}})
    frame = DeepfakeBench([str(index)], str(root)).read().frame
    assert (frame.loc[0, "label"], frame.loc[0, "method"]) == expected


def test_pooled_classes_take_the_method_from_the_folder(deepfakebench_tree: Tree) -> None:
    videos = {"000_003": frames("DF40/inswap/ff/frames/000_003", 1), "001": frames("DF40/MRAA/ff/frames/001", 1)}
    index, root = deepfakebench_tree("FSAll_ff", {"FSAll_Fake": {"train": videos}})
    assert DeepfakeBench([str(index)], str(root)).read().frame["method"].tolist() == ["inswapper", "mraa"]


def test_reals_shared_by_indices_are_kept_once(deepfakebench_tree: Tree) -> None:
    first, root = deepfakebench_tree("simswap_ff", simswap())
    second, _ = deepfakebench_tree("lia_ff", {"lia_Real": {"train": {"000": frames("real/000")}}})
    table = DeepfakeBench([str(first), str(second)], str(root)).read()
    assert len(table) == 9
    assert table.skipped_by_reason() == {"listed twice (kept once)": 3}


def test_a_video_listed_in_train_and_test_is_a_test_video(deepfakebench_tree: Tree) -> None:
    videos = {"id0_0000": frames("Celeb-real/id0_0000", 2)}
    classes = {"CelebDFv2_real": {"train": videos, "val": videos, "test": videos}}
    index, root = deepfakebench_tree("Celeb-DF-v2", classes)
    table = DeepfakeBench([str(index)], str(root)).read()
    assert table.frame["split"].tolist() == ["test", "test"]
    assert table.skipped_by_reason() == {
        "in train but also in test (kept once)": 2,
        "in val but also in test (kept once)": 2,
    }


def test_masks_come_from_the_index_by_frame_name(deepfakebench_tree: Tree) -> None:
    folder = "FaceForensics++/Deepfakes/c23"
    masks = [f"./{folder}/masks/000_003/001.png", f"./{folder}/masks/000_003/002.png"]
    index, root = deepfakebench_tree(
        "FF-DF",
        {"FF-DF": {"train": {"000_003": frames(f"{folder}/frames/000_003")}}},
        compression="c23",
        extra={"000_003": {"masks": masks}},
    )
    (root / folder / "masks/000_003").mkdir(parents=True)
    (root / folder / "masks/000_003/001.png").write_bytes(b"m")
    table = DeepfakeBench([str(index)], str(root)).read()
    assert table.frame["mask"].tolist() == ["", f"{folder}/masks/000_003/001.png", ""]
    assert table.skipped_by_reason() == {"mask file missing (frame kept)": 1}


def test_celeb_df_names_give_identities_and_the_target_video(deepfakebench_tree: Tree) -> None:
    videos = {"id3_id7_0002": frames("Celeb-synthesis/id3_id7_0002", 1)}
    index, root = deepfakebench_tree("Celeb-DF-v2", {"CelebDFv2_fake": {"test": videos}})
    row = DeepfakeBench([str(index)], str(root)).read().frame.loc[0]
    assert (row["group"], row["identity"]) == ("cdf/id3_0002", "cdf/id3|cdf/id7")


def test_forged_sets_share_groups_and_identities_over_their_indices(deepfakebench_tree: Tree) -> None:
    """The layout of ``continual-df forge``: one index a method, all with the same reals, identities in ``meta``."""
    real = {"a1": ["frames/real/a1/000.jpg"]}
    meta = {"a1": {"meta": {"identity": "s1", "seed": 0}}}
    indices = []
    for method in ("poisson_swap", "mouth_drive"):
        index, root = deepfakebench_tree(method, {f"{method}_Real": {"test": real}}, extra=meta)
        content = json.loads(index.read_text())
        path = f"frames/{method}/a1/000.jpg"
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(b"x")
        entry = {"label": f"{method}_Fake", "frames": [path], "meta": {"identity": "s1|s2", "donor": "b7"}}
        content[method][f"{method}_Fake"] = {"test": {"a1": entry}}
        index.write_text(json.dumps(content))
        indices.append(str(index))
    index, root = deepfakebench_tree(
        "null_codec", {"null_codec_Real": {"test": {"a1": ["frames/null_codec/a1/0.jpg"]}}}
    )
    frame = DeepfakeBench([*indices, str(index)], str(root)).read().frame
    assert frame["method"].tolist() == ["real", "poisson_swap", "mouth_drive", "null_codec"]
    assert frame["label"].tolist() == [0, 1, 1, 0]
    assert set(frame["group"]) == {"images/a1"}
    assert frame["identity"].tolist() == ["images/s1", "images/s1|images/s2", "images/s1|images/s2", ""]


def test_only_the_wanted_methods_and_splits_are_kept_and_all_reals(deepfakebench_tree: Tree) -> None:
    classes = {**simswap(), "lia_Fake": {"test": {"001": frames("lia/ff/frames/001")}}}
    index, root = deepfakebench_tree("pool_ff", classes)
    frame = DeepfakeBench([str(index)], str(root), methods=["LIA"]).read().frame
    assert set(frame["method"]) == {"real", "lia"}
    assert set(DeepfakeBench([str(index)], str(root), splits=["test"]).read().frame["split"]) == {"test"}


def test_unchecked_files_are_not_looked_for(deepfakebench_tree: Tree) -> None:
    index, root = deepfakebench_tree("simswap_ff", simswap(), missing=("real/000/001.png",))
    table = DeepfakeBench([str(index)], str(root), check_files=False).read()
    assert len(table) == 9
    assert "real/000/001.png" in set(table.frame["path"])


def test_strip_drops_a_stated_prefix(deepfakebench_tree: Tree) -> None:
    index, root = deepfakebench_tree("simswap_ff", simswap(), prefix="old\\place/")
    assert len(DeepfakeBench([str(index)], str(root), strip="old/place/").read()) == 9
    with pytest.raises(FrameTableError, match="none of its 9 frames exists"):
        DeepfakeBench([str(index)], str(root), strip="other/").read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: "{broken", r"simswap_ff\.json: not a JSON file"),
        (lambda c: json.dumps([{"path": "a.png", "label": 1}]), "top level: expected an object, found list.*PathList"),
        (lambda c: json.dumps(c).replace('"test"', '"exam"'), "row simswap_ff/simswap_Real/exam: unknown split 'exam'"),
        (lambda c: json.dumps(c).replace("simswap_Fake", "odd"), "the class 'odd' says neither real nor fake.*labels"),
        (
            lambda c: json.dumps(c).replace('"label": "simswap_Fake"', '"label": "simswap_Real"'),
            "stands under 'simswap_Fake' but is labelled 'simswap_Real'",
        ),
        (lambda c: json.dumps(c).replace("simswap/ff/frames/000_003", "real/000"), "listed as real and as fake"),
    ],
)
def test_a_wrong_index_is_refused_with_place_and_fix(
    deepfakebench_tree: Tree, change: Callable[[Any], str], message: str
) -> None:
    index, root = deepfakebench_tree("simswap_ff", simswap())
    index.write_text(change(json.loads(index.read_text())))
    with pytest.raises(FrameTableError, match=message):
        DeepfakeBench([str(index)], str(root)).read()


def test_an_odd_class_can_be_named(deepfakebench_tree: Tree) -> None:
    index, root = deepfakebench_tree("set", {"A": {"test": {"0": ["a/0.png"]}}, "B": {"test": {"0": ["b/0.png"]}}})
    frame = DeepfakeBench([str(index)], str(root), labels={"A": "real", "B": "StarGAN2"}).read().frame
    assert frame["method"].tolist() == ["real", "starganv2"]


def test_several_compressions_ask_for_a_choice(tmp_path: Path) -> None:
    entry = {"0": {"label": "FF-real", "frames": ["a/0.png"]}}
    index = tmp_path / "FF-DF.json"
    index.write_text(json.dumps({"FF-DF": {"FF-real": {"test": {"c23": entry, "c40": entry}}}}))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/0.png").write_bytes(b"x")
    with pytest.raises(FrameTableError, match=r"holds c23, c40\. Set 'compression'"):
        DeepfakeBench([str(index)], str(tmp_path)).read()
    assert len(DeepfakeBench([str(index)], str(tmp_path), compression="c40").read()) == 1


def test_missing_root_index_and_method_are_said(deepfakebench_tree: Tree, tmp_path: Path) -> None:
    index, root = deepfakebench_tree("simswap_ff", simswap())
    with pytest.raises(DatasetNotFoundError, match=r"not found at '.*nowhere'\. Set 'root'"):
        DeepfakeBench([str(index)], str(tmp_path / "nowhere")).read()
    with pytest.raises(DatasetNotFoundError, match=r"not found at '.*no\.json'\. Correct 'index'"):
        DeepfakeBench([str(tmp_path / "no.json")], str(root)).read()
    with pytest.raises(FrameTableError, match="no video of 'lia'; the index holds real, simswap"):
        DeepfakeBench([str(index)], str(root), methods=["lia"]).read()
    with pytest.raises(ValueError, match="frames_per_video is 0"):
        DeepfakeBench([str(index)], str(root), frames_per_video=0)
