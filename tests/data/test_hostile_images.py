from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from continual_df.data import pixels
from continual_df.data.frame_table import FrameTable
from continual_df.data.images import decode_image, drop_unreadable
from continual_df.data.pixels import read_pixels
from continual_df.errors import UnreadableImageError

RAMP16 = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 200


def photo(width: int = 12, height: int = 8, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png(width: int, height: int) -> bytes:
    """Return a PNG that says it is so large, and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff(tags: dict[int, int], data: bytes) -> bytes:
    """Return a little-endian TIFF of one directory; a value of -1 is the offset of ``data``."""
    offset = 8 + 2 + 12 * len(tags) + 4
    entries = (struct.pack("<HHII", tag, 4, 1, offset if value < 0 else value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + bytes(4) + data


def refuse(path: Path, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_pixels(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


# What is no file


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.png"))
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "socket", "zero"):
        refuse(tmp_path / f"{name}.png", "a folder, a pipe or a device, not a file")
    listener.close()


def test_links_that_lead_nowhere_or_in_circles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    refuse(tmp_path / "broken.png", "No such file")
    refuse(tmp_path / "a.png", "symbolic links")


def test_a_link_to_an_image_elsewhere_is_read(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    Image.fromarray(photo()).save(tmp_path / "x.png")
    (tmp_path / "set/x.png").symlink_to("../x.png")
    assert (read_pixels(tmp_path / "set/x.png") == photo()).all()


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    if os.geteuid() != 0:
        refuse(tmp_path / "x.png", "Permission denied")
        return
    os.seteuid(65534)  # root reads anything
    try:
        refuse(tmp_path / "x.png", "Permission denied")
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "caf\udce9.png"])
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableImageError):
        read_pixels(tmp_path / name)


# What is too much


@pytest.mark.parametrize("size", [(8193, 8192), (9400, 9400), (11000, 9000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.png").write_bytes(png(*size))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    refuse(tmp_path / "x.png", "pixels are more than the 67108864 allowed")


def test_the_limit_of_pixels_lies_below_where_pillow_only_warns() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert pixels.MAX_PIXELS <= Image.MAX_IMAGE_PIXELS


def test_an_image_of_just_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(photo(12, 8)).save(tmp_path / "x.png")
    monkeypatch.setattr(pixels, "MAX_PIXELS", 96)
    assert read_pixels(tmp_path / "x.png").shape == (8, 12, 3)
    monkeypatch.setattr(pixels, "MAX_PIXELS", 95)
    refuse(tmp_path / "x.png", "12 x 8 pixels are more than the 95 allowed")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x.webp").open("wb") as file:
        file.write(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
        file.truncate(1 << 40)  # a hole: it takes no room on the disk
    monkeypatch.setattr(Image, "open", lambda _: pytest.fail("opened"))
    refuse(tmp_path / "x.webp", "its 1099511627776 bytes are more than the 536870912 allowed")


def test_a_tiff_whose_one_tile_is_huge_is_refused(tmp_path: Path) -> None:
    data = zlib.compress(bytes(256))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 16, 323: 16, 324: -1, 325: len(data)}
    (tmp_path / "small.tif").write_bytes(tiff(tags, data))
    assert (read_pixels(tmp_path / "small.tif") == 0).all()
    (tmp_path / "large.tif").write_bytes(tiff({**tags, 322: 40_000, 323: 40_000}, data))
    refuse(tmp_path / "large.tif", "tiles of 1600000000 pixels are larger")


def test_a_jpeg_of_a_thousand_scans_is_refused(tmp_path: Path) -> None:
    Image.fromarray(photo(64, 64)).save(tmp_path / "x.jpg", progressive=True)
    whole = (tmp_path / "x.jpg").read_bytes()
    assert read_pixels(tmp_path / "x.jpg").shape == (64, 64, 3)
    start = whole.rfind(b"\xff\xda")
    (tmp_path / "x.jpg").write_bytes(whole[:start] + whole[start:-2] * 1000 + whole[-2:])
    refuse(tmp_path / "x.jpg", "progressive scans are more than the 100 allowed")


def test_text_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(1 << 26), 9)
    kind, data = b"zTXt", b"Comment\0\0" + packed
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "PNG")
    whole = buffer.getvalue()
    (tmp_path / "x.png").write_bytes(whole[:33] + chunk + whole[33:])
    refuse(tmp_path / "x.png", "too large")


# What is odd, and read


def save_cmyk(path: Path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(path, "TIFF")


def save_palette(path: Path) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(path, "PNG", transparency=b"\x00\x80")


def save_key_colour(path: Path) -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.save(path, "PNG", transparency=0)


@pytest.mark.parametrize(
    ("save", "expected"),
    [
        (save_cmyk, (255, 0, 0)),
        (save_palette, (255, 0, 0)),
        (save_key_colour, (255, 0, 0)),
        (lambda path: Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(path, "PNG"), (255, 0, 0)),
        (lambda path: Image.new("LA", (4, 4), (90, 0)).save(path, "PNG"), (90, 90, 90)),
        (lambda path: Image.new("L", (4, 4), 90).save(path, "PNG", transparency=90), (90, 90, 90)),
        (lambda path: Image.new("1", (4, 4), 1).save(path, "PNG"), (255, 255, 255)),
        (lambda path: Image.new("L", (4, 4), 90).save(path, "GIF"), (90, 90, 90)),
        (lambda path: Image.new("LAB", (4, 4), (255, 128, 128)).save(path, "TIFF"), (255, 255, 255)),
    ],
    ids=["cmyk", "palette-alpha", "palette-key", "rgba", "la", "grey-key", "one-bit", "grey-gif", "lab"],
)
@pytest.mark.parametrize("channels", [3, 1])
def test_every_colour_mode_becomes_rgb_or_grey(
    tmp_path: Path, save: Callable[[Path], None], expected: tuple[int, int, int], channels: int
) -> None:
    save(tmp_path / "x.png")  # the name's ending says nothing
    image = read_pixels(tmp_path / "x.png", 3 if channels == 3 else 1)
    assert image.shape == (4, 4, channels)
    grey = round(np.dot(expected, (0.299, 0.587, 0.114)))
    wanted = expected if channels == 3 else (grey,)
    assert np.abs(image.reshape(-1, channels).astype(int) - wanted).max() <= 1


def save_rgb16(path: Path) -> None:
    cv2.imwrite(str(path), np.stack([RAMP16] * 3, axis=-1))


def save_pgm16(path: Path) -> None:
    path.write_bytes(b"P5 16 16 65535\n" + RAMP16.astype(">u2").tobytes())


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey.png", lambda path: Image.fromarray(RAMP16).save(path)),
        ("grey.tif", lambda path: Image.fromarray(RAMP16).save(path)),
        ("grey.pgm", save_pgm16),
        ("rgb.png", save_rgb16),
        ("rgb.tif", save_rgb16),
    ],
)
def test_16_bits_become_their_high_byte_and_are_never_clipped(
    tmp_path: Path, name: str, save: Callable[[Path], None]
) -> None:
    save(tmp_path / name)
    for channels in (1, 3):
        image = decode_image(tmp_path / name, channels)
        assert image.shape == (channels, 16, 16)
        assert (image.numpy() == RAMP16 // 256).all()


def test_12_bits_become_their_high_eight(tmp_path: Path) -> None:
    # two pixels of 12 bits in three bytes: 0xFFF and 0x801
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: -1, 277: 1, 278: 1, 279: 3}
    (tmp_path / "x.tif").write_bytes(tiff(tags, b"\xff\xf8\x01"))
    assert read_pixels(tmp_path / "x.tif", 1)[0, :, 0].tolist() == [255, 128]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(np.ones((4, 4), dtype)).save(tmp_path / "x.tif")
    refuse(tmp_path / "x.tif", "floats or 32-bit integers of unknown range; save it with 8 or 16 bits")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_read(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    frames[0].save(tmp_path / "x", kind, save_all=True, append_images=frames[1:])
    assert (np.abs(read_pixels(tmp_path / "x").astype(int) - (255, 0, 0)) <= 3).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation_is_applied_as_opencv_does(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    quality: Any = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    Image.fromarray(np.kron(photo(3, 2), np.ones((8, 8, 1), np.uint8))).save(tmp_path / "x", kind, exif=exif, **quality)
    upright = cv2.imread(str(tmp_path / "x"), cv2.IMREAD_COLOR_RGB)
    assert upright is not None
    ours = read_pixels(tmp_path / "x")
    assert ours.shape == ((24, 16, 3) if orientation > 4 else (16, 24, 3)) == upright.shape
    assert np.abs(ours.astype(int) - upright).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_like_a_png(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    for kind in ("PNG", "TIFF"):
        Image.fromarray(photo()).save(tmp_path / kind, kind, exif=exif)
    assert np.array_equal(read_pixels(tmp_path / "TIFF"), read_pixels(tmp_path / "PNG"))


def test_a_mask_drawn_in_the_upright_frame_fits_the_turned_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    mask = np.zeros((24, 16, 1), np.uint8)
    mask[:8, 8:] = 255
    Image.fromarray(np.rot90(np.repeat(mask, 3, axis=2))).save(tmp_path / "x.png", exif=exif)
    Image.fromarray(mask[..., 0]).save(tmp_path / "mask.png")
    assert (read_pixels(tmp_path / "x.png", 1) == read_pixels(tmp_path / "mask.png", 1)).all()


def test_exif_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    for content in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"):
        Image.fromarray(photo()).save(tmp_path / "x.png", exif=content)
        assert (read_pixels(tmp_path / "x.png") == photo()).all()


@pytest.mark.parametrize("name", ["x.jpg", "x.txt", "x", "x.tar.gz"])
def test_the_content_decides_and_not_the_ending(tmp_path: Path, name: str) -> None:
    Image.fromarray(photo()).save(tmp_path / name, "PNG")
    assert (read_pixels(tmp_path / name) == photo()).all()


# What is broken


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    refuse(tmp_path / "x.png", "the file is empty")


@pytest.mark.parametrize(
    "content",
    [
        bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        b"<html>404 Not Found</html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
    ids=["zeros", "svg", "postscript", "html", "lfs-pointer"],
)
def test_what_is_no_photo_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    refuse(tmp_path / "x.png", "no image of a known format|the format EPS is not read")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_damaged_bytes_are_read_or_refused_and_nothing_else(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(photo(24, 24)).save(buffer, kind)
    generator = np.random.default_rng(1)
    path, refused = tmp_path / "x", 0
    for _ in range(150):
        damaged = bytearray(buffer.getvalue())
        for place in generator.integers(0, min(len(damaged), 200), generator.integers(1, 9)):
            damaged[place] = generator.choice([0, 1, 127, 128, 255, int(generator.integers(256))])
        path.write_bytes(damaged[: generator.integers(1, len(damaged) + 1)])
        try:
            assert read_pixels(path).dtype == np.uint8
        except UnreadableImageError:
            refused += 1
    assert refused > 50


def test_nothing_of_this_prints_anything_but_the_error(tmp_path: Path) -> None:
    (tmp_path / "warned.png").write_bytes(png(9400, 9400 + 200))
    save_palette(tmp_path / "palette.png")
    Image.fromarray(photo()).save(tmp_path / "exif.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x01")
    Image.fromarray(photo()).save(tmp_path / "cut.tif")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:-20])
    program = (
        "import sys\nfrom pathlib import Path\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from continual_df.data.pixels import read_pixels\nfrom continual_df.errors import UnreadableImageError\n"
        "def look(path):\n    try:\n        read_pixels(path)\n    except UnreadableImageError as error:\n        pass\n"
        "with ThreadPoolExecutor(4) as pool:\n    list(pool.map(look, sorted(Path(sys.argv[1]).iterdir()) * 4))\n"
    )
    command = [sys.executable, "-W", "always::UserWarning", "-c", program, str(tmp_path)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_table_leaves_such_files_out_and_counts_them(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(20_000, 20_000))
    os.mkfifo(tmp_path / "c.png")
    frame = pd.DataFrame({"path": ["a.png", "b.png", "c.png"]})
    table, sizes = drop_unreadable(FrameTable(frame, tmp_path), max_share=0.7)
    assert table.frame["path"].tolist() == ["a.png"]
    assert sizes == [(8, 12)]
    assert table.skipped_by_reason() == {"unreadable image": 2}
