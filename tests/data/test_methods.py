from __future__ import annotations

from collections import Counter

import pytest

from continual_df.data.class_labels import meaning_of, method_in_path
from continual_df.data.methods import DF40_METHODS, KNOWN_METHODS, canonical, known_method, squeeze
from continual_df.data.video_ids import Scheme, VideoId, parse_video_id, source_of

# as in DF40's README tree, with the spellings seen on disk
FOLDERS = [
    "fsgan",
    "faceswap",
    "simswap",
    "inswap",
    "blendface",
    "uniface",
    "mobileswap",
    "e4s",
    "facedancer",
    "deepfacelab",
    "fomm",
    "facevid2vid",
    "wav2lip",
    "MRAA",
    "one_shot_free",
    "pirender",
    "tpsm",
    "lia",
    "danet",
    "sadtalker",
    "mcnet",
    "hyperreenact",
    "heygen",
    "VQGAN",
    "StyleGAN2",
    "StyleGAN3",
    "StyleGANXL",
    "sd2.1",
    "ddim",
    "RDDM",
    "PixArt",
    "DiT",
    "SiT",
    "MidJourney",
    "whichfaceisreal",
    "CollabDiff",
    "e4e",
    "stargan",
    "starganv2",
    "styleclip",
]


def test_the_folders_of_df40_name_its_forty_methods_in_order() -> None:
    assert [canonical(folder) for folder in FOLDERS] == [method.name for method in DF40_METHODS]


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda name: name.replace("_", "-")])
def test_case_and_separators_do_not_matter(change: object) -> None:
    assert callable(change)
    assert [canonical(change(folder)) for folder in FOLDERS] == [method.name for method in DF40_METHODS]


def test_no_spelling_means_two_methods() -> None:
    spellings = Counter(spelling for method in KNOWN_METHODS for spelling in {squeeze(method.name), *method.aliases})
    assert max(spellings.values()) == 1
    assert all(squeeze(spelling) == spelling for spelling in spellings)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("pixart", "pixart"), ("StarGAN2", "starganv2"), ("Whichisreal", "whichisreal"), ("DaGAN", "dagan")],
)
def test_spellings_seen_in_copies_are_known(spelling: str, name: str) -> None:
    assert canonical(spelling) == name


def test_df40_has_ten_swaps_thirteen_reenactments_twelve_syntheses_and_five_edits() -> None:
    assert Counter(method.family for method in DF40_METHODS) == {
        "swap": 10,
        "reenactment": 13,
        "synthesis": 12,
        "edit": 5,
    }


def test_a_new_method_needs_no_entry() -> None:
    assert known_method("My New-GAN") is None
    assert canonical("My New-GAN") == "my_new_gan"


def test_labels_that_say_nothing_mean_nothing() -> None:
    assert meaning_of("cat", "x") is None
    assert meaning_of("Fake", "sd21") == (1, "sd2.1")


def test_folders_that_are_no_df40_method_are_passed_over() -> None:
    assert method_in_path(["deepfakes_detection_datasets", "DF40_train", "MRAA", "ff"]) == "mraa"
    assert method_in_path(["deepfakes_detection_datasets", "DF40", "ff"]) == ""


@pytest.mark.parametrize(
    ("video", "scheme", "expected"),
    [
        ("000", "ff", ("000", ("000",))),
        ("000_003", "ff", ("000", ("000", "003"))),
        ("000_003_mcnet", "ff", ("000", ("000", "003"))),
        ("0001", "ff", ("0001", ())),
        ("id0_0000", "celebdf", ("id0_0000", ("id0",))),
        ("id0_id16_0003", "celebdf", ("id0_0003", ("id0", "id16"))),
        ("00170", "celebdf", ("00170", ())),
        ("01_27__meeting_serious__ZYCZ30C0", "dfd", ("01__meeting_serious", ("01", "27"))),
        ("01__meeting_serious", "dfd", ("01__meeting_serious", ("01",))),
        ("000_003", "plain", ("000_003", ())),
    ],
)
def test_video_names_tell_target_and_identities(
    video: str, scheme: Scheme, expected: tuple[str, tuple[str, ...]]
) -> None:
    assert parse_video_id(video, scheme) == VideoId(*expected)


@pytest.mark.parametrize(
    ("dataset", "folders", "expected"),
    [
        ("FaceForensics++_c40", [], ("ff", "ff")),
        ("simswap_ff", [], ("ff", "ff")),
        ("EFSAll_cdf", [], ("cdf", "celebdf")),
        ("Celeb-DF-v2", [], ("cdf", "celebdf")),
        ("DF40_all", ["DF40", "lia", "cdf", "frames"], ("cdf", "celebdf")),
        ("deepfacelab", [], ("uadfv", "plain")),
        ("starganv2", [], ("celeba", "plain")),
        ("DFDCP", [], ("dfdcp", "plain")),
        ("mine", [], ("", "plain")),
    ],
)
def test_the_domain_follows_from_the_dataset(dataset: str, folders: list[str], expected: tuple[str, Scheme]) -> None:
    assert source_of(dataset, folders) == expected
