from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage

from continual_df.data.frame_table import FrameTable, read_table
from continual_df.errors import ConfigError, UnreadableImageError
from continual_df.forgeries.builder import forge
from continual_df.forgeries.drawn_faces import draw_face
from continual_df.forgeries.index import parameter_hash
from continual_df.forgeries.operator import Image
from continual_df.forgeries.reals import Real, drawn_reals

METHODS = ["poisson_swap", "recolour", "pca_reconstruction", "null_codec"]
PEOPLE, SHOTS = 12, 2


def grey_loader(person: int, shot: int) -> partial[Image]:
    """A loader that other processes can unpickle: they do not know this file."""
    return partial(np.repeat, draw_face(3, person, shot, 40)[..., :1], 3, 2)


def mixed_reals() -> list[Real]:
    """Colour faces, every third person photographed in grey."""
    reals = drawn_reals(PEOPLE * SHOTS, seed=3, size=40, per_identity=SHOTS)
    return [
        real
        if index // SHOTS % 3
        else Real(real.photo, real.identity, real.origin, grey_loader(index // SHOTS, index % SHOTS))
        for index, real in enumerate(reals)
    ]


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> FrameTable:
    out = tmp_path_factory.mktemp("forged") / "set"
    forge(mixed_reals(), METHODS, out, size=48, seed=5)
    return read_table(out / "table.parquet")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 by path; of the table its rows, since the file names its own folder."""
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".parquet"
    }
    return {**files, "table": read_table(folder / "table.parquet").frame.to_csv()}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_processes(forged: FrameTable, tmp_path: Path) -> None:
    forge(mixed_reals(), METHODS, tmp_path / "two", size=48, seed=5, workers=2)
    assert digests(tmp_path / "two") == digests(forged.root)
    assert {path.name for path in tmp_path.iterdir()} == {"two"}


def test_another_seed_gives_other_splits_and_other_bytes(forged: FrameTable, tmp_path: Path) -> None:
    other = forge(mixed_reals(), ["recolour"], tmp_path / "other", size=48, seed=6)
    first = forged.frame[forged.frame["method"] == "recolour"].reset_index(drop=True)
    second = other.frame[other.frame["method"] == "recolour"].reset_index(drop=True)
    assert first["group"].tolist() == second["group"].tolist()
    assert first["split"].tolist() != second["split"].tolist()
    assert (forged.root / first["path"][0]).read_bytes() != (other.root / second["path"][0]).read_bytes()


def test_adding_a_method_leaves_the_others_as_they_were(forged: FrameTable, tmp_path: Path) -> None:
    forge(mixed_reals(), ["poisson_swap"], tmp_path / "less", size=48, seed=5)
    less, more = digests(tmp_path / "less"), digests(forged.root)
    del less["table"]
    assert less.items() <= more.items()


def test_no_person_is_in_two_splits_as_target_or_donor(forged: FrameTable) -> None:
    people = forged.frame.assign(person=forged.frame["identity"].str.split("|")).explode("person")
    assert people.groupby("person")["split"].nunique().max() == 1
    assert set(people["split"]) == {"train", "val", "test"}
    swaps = forged.frame[forged.frame["method"] == "poisson_swap"]["identity"].str.split("|")
    assert all(len(pair) == 2 and pair[0] != pair[1] for pair in swaps)


def test_every_fake_has_its_untouched_twin_and_one_of_each_is_made_per_photo(forged: FrameTable) -> None:
    frame = forged.frame
    assert len(frame) == PEOPLE * SHOTS * (1 + len(METHODS))
    for _, group in frame.groupby("group"):
        assert sorted(group["method"]) == sorted(["real", *METHODS])
        assert group["split"].nunique() == 1
    assert frame.loc[frame["method"].isin(["real", "null_codec"]), "label"].eq(0).all()
    assert frame.loc[~frame["method"].isin(["real", "null_codec"]), "label"].eq(1).all()
    assert frame["video"].is_unique


def test_reals_fakes_and_controls_of_a_photo_share_size_format_channels_and_quality(forged: FrameTable) -> None:
    looks = []
    for path in forged.frame["path"]:
        with PILImage.open(forged.root / path) as image:
            looks.append((image.format, image.size, image.mode, json.dumps(image.quantization)))
    frame = forged.frame.assign(look=looks)
    assert frame.groupby("group")["look"].nunique().max() == 1
    assert {(look[0], look[1]) for look in looks} == {("JPEG", (48, 48))}
    assert {look[2] for look in looks} == {"L", "RGB"}
    assert len({look[3] for look in looks}) > 5  # the quality is drawn per photo


def test_masks_are_binary_and_cover_what_differs_from_the_twin(forged: FrameTable) -> None:
    fakes = forged.frame[forged.frame["label"] == 1]
    assert (forged.frame.loc[forged.frame["label"] == 0, "mask"] == "").all()
    for row in fakes.itertuples():
        mask = cv2.imread(str(forged.root / row.mask), cv2.IMREAD_UNCHANGED)
        assert mask is not None
        assert mask.shape == (48, 48)
        assert set(np.unique(mask)) <= {0, 255}
        fake = np.asarray(cv2.imread(str(forged.root / row.path), cv2.IMREAD_GRAYSCALE), np.float64)
        twin = np.asarray(cv2.imread(str(forged.root / f"frames/real/{row.group}/000.jpg"), 0), np.float64)
        if (mask == 0).any():
            outside, inside = (np.abs(fake - twin)[where].mean() for where in (mask == 0, mask > 0))
            assert inside > 2 * outside


def test_each_method_has_a_deepfakebench_index_with_its_parameters(forged: FrameTable) -> None:
    for method in METHODS:
        index = json.loads((forged.root / f"{method}.json").read_text())
        classes = index[method]
        fake = [] if method == "null_codec" else [f"{method}_Fake"]
        assert sorted(classes) == sorted([f"{method}_Real", *fake])
        for label, splits in classes.items():
            assert set(splits) == {"train", "val", "test"}
            for videos in splits.values():
                for entry in videos.values():
                    assert entry["label"] == label
                    assert all((forged.root / path).is_file() for path in (*entry["frames"], *entry["masks"]))
                    meta = entry["meta"]
                    bare = {key: meta[key] for key in meta if key not in ("identity", "hash", "version")}
                    assert meta["hash"] == parameter_hash(bare)
                    if label in fake:
                        assert meta["operator"] == method
                        assert ("donor" in meta) == (method == "poisson_swap")
                        assert entry["masks"][0] == entry["frames"][0].replace("frames", "masks").replace("jpg", "png")


def test_a_folder_that_is_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists and is not empty"):
        forge(mixed_reals(), METHODS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def broken() -> Image:
    raise UnreadableImageError("b.png: truncated")


def test_an_unreadable_photo_is_counted_and_too_many_stop_the_build(tmp_path: Path) -> None:
    reals = [*mixed_reals(), Real("b", "someone", "b.png", broken)]
    table = forge(reals, ["recolour"], tmp_path / "out", size=32)
    assert [tuple(item) for item in table.skipped] == [("b.png", "b.png: truncated")]
    assert len(table) == 2 * PEOPLE * SHOTS
    with pytest.raises(UnreadableImageError, match=r"1 of 25 photos cannot be read \(allowed share 0.01\).*b.png"):
        forge(reals, ["recolour"], tmp_path / "none", size=32, max_unreadable=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["poisson_swpa"]}, "Did you mean poisson_swap"),
        ({"size": 16}, "at least 32 pixels"),
        ({"quality": (95, 75)}, "lowest first"),
        ({"workers": 0}, "At least one worker"),
        ({"fractions": (0.5, 0.1, 0.1)}, "must add to 1"),
        ({"reals": mixed_reals()[:2]}, "leave the split 'val' empty"),
        ({"reals": mixed_reals()[:8]}, "holds one identity"),
        ({"reals": [*mixed_reals(), mixed_reals()[0]]}, "the same name"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(tmp_path: Path, change: dict[str, object], message: str) -> None:
    arguments = {"reals": mixed_reals(), "methods": ["poisson_swap"], "size": 32, **change}
    with pytest.raises(ConfigError, match=message):
        forge(**arguments, out=tmp_path / "out")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_larger_working_size_is_reduced_with_its_mask(tmp_path: Path) -> None:
    table = forge(mixed_reals(), ["recolour"], tmp_path / "out", size=32, working_size=64)
    row = table.frame[table.frame["label"] == 1].iloc[0]
    for path in (row["path"], row["mask"]):
        with PILImage.open(table.root / path) as image:
            assert image.size == (32, 32)
    assert isinstance(table.frame, pd.DataFrame)
