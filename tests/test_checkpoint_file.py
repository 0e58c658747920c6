from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from continual_df.checkpoint_file import VerifiedCheckpointIO, load_checkpoint, save_checkpoint, verify_checkpoint
from continual_df.errors import CheckpointError

CONTENT: dict[str, Any] = {
    "state_dict": OrderedDict(weight=torch.arange(50_000.0), steps=torch.tensor(3)),
    "generators": (3, tuple(range(625)), None),
    "names": ["a", "b"],
    "share": 0.1,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(CONTENT, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


def test_what_was_saved_comes_back(path: Path) -> None:
    for found in (
        load_checkpoint(path),
        torch.load(path, weights_only=True),
        VerifiedCheckpointIO().load_checkpoint(path),
    ):
        assert found["generators"] == CONTENT["generators"]
        assert found["share"] == CONTENT["share"]
        for name, value in CONTENT["state_dict"].items():
            assert torch.equal(found["state_dict"][name], value)


def test_the_file_is_an_archive_whose_comment_is_the_checksum(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"blake2b:")
        assert archive.testzip() is None


@pytest.mark.parametrize("place", [0.0, 0.3, 0.9, 0.999])
def test_one_bit_that_flips_anywhere_is_found(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt' (is damaged|does not end in a checksum)"):
        load_checkpoint(path)


@pytest.mark.parametrize("length", [0, 10, 60, 5000, -1])
def test_a_file_that_is_cut_short_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"x\.ckpt' (is damaged|does not end in a checksum)"):
        verify_checkpoint(path)


def test_a_file_without_a_checksum_is_refused(path: Path) -> None:
    torch.save(CONTENT, path)
    with pytest.raises(
        CheckpointError, match="does not end in a checksum: it is cut short, or was not written by this"
    ):
        load_checkpoint(path)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.ckpt' cannot be read \(No such file or directory\)"):
        load_checkpoint(tmp_path / "none.ckpt")


class Trap:
    """A pickle that makes a file where it is loaded."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("weights_only", [None, False])
def test_a_pickle_does_not_run_whatever_the_caller_says(tmp_path: Path, weights_only: bool | None) -> None:
    path = tmp_path / "x.ckpt"
    save_checkpoint({"x": Trap(tmp_path / "made")}, path)
    with pytest.raises(
        CheckpointError, match="holds more than tensors and plain values, and loading it could run code"
    ):
        VerifiedCheckpointIO().load_checkpoint(path, weights_only=weights_only)
    assert not (tmp_path / "made").exists()
