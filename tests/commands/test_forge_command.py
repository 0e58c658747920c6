from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image as PILImage

from continual_df.cli import main
from continual_df.data.frame_table import read_table
from continual_df.forgeries.drawn_faces import draw_face


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten people with two photos each, and one file that is no image."""
    for person in range(10):
        folder = tmp_path / "photos" / f"p{person}"
        folder.mkdir(parents=True)
        for shot in range(2):
            PILImage.fromarray(draw_face(0, person, shot, 60)).save(folder / f"{shot}.png")
    (tmp_path / "photos" / "p0" / "bad.jpg").write_bytes(b"no image")
    return tmp_path / "photos"


def test_a_folder_of_photos_becomes_a_data_set_and_the_counts_are_printed(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["forge", "--reals", str(photos), "--methods", "parts_swap,null_resample", "--out", str(out)]
    assert main([*command, "--size", "32", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split("│")[1].strip(): line.split("│")[2:6] for line in printed.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in rows["parts_swap"]] == ["fake", "12", "4", "4"]
    assert [cell.strip() for cell in rows["null_resample"]] == ["real", "12", "4", "4"]
    assert "skipped 1 photos that cannot be read" in printed
    assert "bad.jpg" in printed
    table = read_table(out / "table.parquet")
    assert len(table) == 60
    assert set(table.frame["source"]) == {"photos"}
    assert main(["data", "check", str(out / "table.parquet")]) == 0


def test_drawn_faces_are_called_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["forge", "--reals", "drawn:60", "--methods", "recolour", "--out", str(tmp_path / "out"), "--size", "32"]
    assert main([*command, "--workers", "1"]) == 0
    assert "drawn faces, not photos" in capsys.readouterr().out
    assert set(read_table(tmp_path / "out" / "table.parquet").frame["source"]) == {"drawn"}


@pytest.mark.parametrize("flags", [["--list"], ["--methods", "list"]])
def test_the_operators_are_listed_by_family(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forge", *flags]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("swap", "reenactment", "synthesis", "edit", "control", "tiny_autoencoder"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--methods", "inpant"], "'inpant' is not known. Did you mean inpaint"),
        (["--quality", "high"], "--quality takes two whole numbers, as in 75-95, got 'high'"),
        (["--splits", "1,2"], "--splits takes three numbers"),
        (["--reals", "drawn:many"], "'drawn:many' names no number"),
        (["--reals", "nowhere"], "The folder of real faces was not found at 'nowhere'"),
        (["--max-unreadable", "0.01"], "1 of 21 photos cannot be read"),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_status_2(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    command = ["forge", "--reals", str(photos), "--methods", "recolour", "--out", str(tmp_path / "out")]
    assert main([*command, "--size", "32", "--workers", "1", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forge", "--reals", "orl"]) == 2
    assert "--methods and --out must be given" in capsys.readouterr().err
