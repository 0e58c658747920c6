from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from continual_df.audit.features import MOST_VALUES, probe_features
from continual_df.audit.statistics import file_statistics, table_statistics
from continual_df.data.file_hashes import hash_files
from continual_df.data.frame_table import FrameTable
from continual_df.errors import UnreadableImageError


def pixels(seed: int = 0, height: int = 24, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("quality", [1, 10, 35, 49, 50, 51, 59, 75, 92, 95, 100])
def test_quality_of_a_jpeg_is_read_from_its_tables(tmp_path: Path, quality: int) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", quality=quality)
    assert file_statistics(tmp_path / "a.jpg").jpeg_quality == quality


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_chroma_subsampling_of_a_jpeg(tmp_path: Path, number: int, name: str) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", subsampling=number)
    assert file_statistics(tmp_path / "a.jpg").subsampling == name


def test_numbers_equal_naive_ones(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.png")
    found = file_statistics(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        grey = np.asarray(image.convert("L")).astype(float)
    padded = np.pad(grey, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * grey
    assert found.size == "16x24"
    assert found.aspect == 16 / 24
    assert found.mean == pytest.approx(grey.mean())
    assert found.std == pytest.approx(grey.std())
    assert found.log_laplacian == pytest.approx(np.log1p((laplacian**2).mean()))
    assert np.exp(found.log_file_size) == pytest.approx((tmp_path / "a.png").stat().st_size)
    assert np.exp(found.log_pixels) == pytest.approx(16 * 24)
    assert np.isnan(found.jpeg_quality)
    assert found.subsampling == "none"


PAIRS = [("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "L"), ("WEBP", "RGB")]


@pytest.mark.parametrize(("codec", "colour"), PAIRS)
def test_codec_is_that_of_the_content_whatever_the_ending(tmp_path: Path, codec: str, colour: str) -> None:
    Image.fromarray(pixels()).convert(colour).save(tmp_path / "a.bmp", codec)
    found = file_statistics(tmp_path / "a.bmp")
    assert (found.codec, found.colour) == (codec, colour)


def test_flat_and_one_pixel_images_have_numbers(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "a.png")
    found = file_statistics(tmp_path / "a.png")
    assert (found.std, found.log_laplacian) == (0, 0)


def test_what_cannot_be_read_is_told_apart_from_the_rest(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(pixels(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "3.png").unlink()
    table = FrameTable(pd.DataFrame({"path": [f"{number}.png" for number in range(4)]}), tmp_path)
    frame, unreadable = table_statistics(table, np.array([0, 1, 2, 3]))
    assert frame.index.tolist() == [0, 2]
    assert sorted(unreadable) == [1, 3]
    assert "3.png' cannot be read" in unreadable[3]
    kept = FrameTable(table.frame.iloc[[0, 2]], tmp_path)
    assert frame["hash"].tolist() == hash_files(kept).tolist()
    with pytest.raises(UnreadableImageError):
        file_statistics(tmp_path / "1.png")


def statistics(**columns: Any) -> pd.DataFrame:
    plain: dict[str, Any] = {
        "size": "8x8",
        "log_pixels": np.log(64.0),
        "aspect": 1.0,
        "log_file_size": 5.0,
        "codec": "JPEG",
        "colour": "RGB",
        "jpeg_quality": 90.0,
        "subsampling": "4:2:0",
        "mean": 100.0,
        "std": 20.0,
        "log_laplacian": 3.0,
    }
    return pd.DataFrame({**plain, **columns}, index=range(4))


def test_features_without_variation_are_left_out() -> None:
    assert probe_features(statistics()).shape == (4, 0)
    assert probe_features(statistics(mean=[1.0, 2.0, 3.0, 4.0])).columns.tolist() == ["brightness"]


def test_each_value_of_a_category_is_a_feature() -> None:
    features = probe_features(statistics(codec=["PNG", "JPEG", "JPEG", "PNG"]))
    assert sorted(features.columns) == ["codec JPEG", "codec PNG"]
    assert features["codec PNG"].tolist() == [1, 0, 0, 1]


def test_quality_of_what_is_no_jpeg_says_nothing_of_its_own() -> None:
    found = probe_features(statistics(jpeg_quality=[np.nan, 80.0, 90.0, 70.0]))
    assert found["JPEG quality"].tolist() == [80, 80, 90, 70]
    assert probe_features(statistics(jpeg_quality=np.nan)).shape == (4, 0)


def test_a_thousand_sizes_are_not_a_thousand_features() -> None:
    sizes = [f"{number}x8" for number in range(1000)]
    frame = pd.concat([statistics().iloc[:1]] * 1000, ignore_index=True).assign(size=sizes)
    assert probe_features(frame).shape[1] == MOST_VALUES
