"""Small made-up copies of the data sets that the experiments need, in their exact layouts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from continual_df.data.frame_table import FrameTable, check_frame, write_table

Videos = Mapping[str, list[str]]
"""Frame paths by video."""

_GENERATOR = np.random.default_rng(0)

FF_SPLITS = {"train": range(8), "val": range(8, 10), "test": range(10, 14)}
FF_FOLDERS = {"FF-DF": "Deepfakes", "FF-F2F": "Face2Face", "FF-FS": "FaceSwap", "FF-NT": "NeuralTextures"}
DF40_STILLS = ("StyleGAN2", "StyleGAN3", "StyleGANXL")
CDDB_SUBCLASSES = {
    "cyclegan": ("apple", "horse"),
    "glow": ("black_hair", "blond_hair"),
    "stargan_gf": ("black_hair", "brown_hair"),
    "stylegan": ("bedroom", "cat"),
}
OW_DFA_KNOWN = {
    "FaceForensics++": ("Deepfakes", "Face2Face"),
    "ForgeryNet": ("DeepFaceLab", "FOMM", "MaskGAN"),
    "DFFD": ("FaceAPP", "StyleGAN"),
    "ForgeryNIR+": ("CycleGAN",),
}
OW_DFA_NOVEL = {
    "FaceForensics++": ("FaceSwap", "NeuralTextures"),
    "ForgeryNet": ("FaceShifter", "FSGAN", "ATVG-Net", "Talking-Head-Video", "StarGAN2", "SC-FEGAN", "StyleGAN2"),
    "DFFD": ("StarGAN", "PGGAN"),
    "ForgeryNIR+": ("StyleGAN2",),
}
"""Classes of OW-DFA by data set, as its CSV files write them."""

CDDB_PLAIN = ("gaugan", "biggan", "imle", "deepfake", "crn", "wild", "whichfaceisreal", "san")


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_GENERATOR.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def write_index(
    file: Path,
    classes: Mapping[str, Mapping[str, Videos]],
    images: Path,
    *,
    dataset: str | None = None,
    compression: str | None = None,
    prefix: str = "",
    separator: str = "\\",
) -> None:
    """Write a DeepfakeBench index of ``{class: {split: videos}}`` and its frames below ``images``."""
    index: dict[str, Any] = {}
    for label, splits in classes.items():
        for split, videos in splits.items():
            entries = {
                video: {"label": label, "frames": [(prefix + frame).replace("/", separator) for frame in frames]}
                for video, frames in videos.items()
            }
            index.setdefault(label, {})[split] = {compression: entries} if compression else entries
            for frame in itertools.chain.from_iterable(videos.values()):
                if not (images / frame).exists():
                    write_image(images / frame)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({dataset or file.stem: index}))


def frames(folder: str, videos: Iterable[str], stem: str = "000") -> dict[str, list[str]]:
    return {video: [f"{folder}/{video}/{stem}.png"] for video in videos}


def pairs(numbers: range) -> list[str]:
    """Return FaceForensics++'s pairs a_b and b_a."""
    return [f"{a:03d}_{b:03d}" for i in numbers[::2] for a, b in ((i, i + 1), (i + 1, i))]


def repeated(train: Videos, test: Videos) -> dict[str, Videos]:
    """Return splits as DeepfakeBench lists them outside FaceForensics++: val is test."""
    return {"train": train, "val": test, "test": test}


def write_ff(images: Path, indices: Path) -> None:
    top = "FaceForensics++/"
    real = {
        split: frames(f"{top}original_sequences/youtube/c23/frames", (f"{i:03d}" for i in numbers))
        for split, numbers in FF_SPLITS.items()
    }
    fakes = {
        label: {
            split: frames(f"{top}manipulated_sequences/{folder}/c23/frames", pairs(numbers))
            for split, numbers in FF_SPLITS.items()
        }
        for label, folder in {**FF_FOLDERS, "FF-FH": "FaceShifter"}.items()
    }
    write_index(indices / "FaceForensics++.json", {"FF-real": real, **fakes}, images, compression="c23")


def deepfakebench(root: Path) -> None:
    images, indices = root / "datasets" / "rgb", root / "preprocessing" / "dataset_json"
    write_ff(images, indices)
    clips = {
        split: {
            label: frames(f"DFDCP/{folder}/frames", (f"{split}_{i}" for i in range(number)))
            for label, folder in (
                ("DFDCP_Real", "original_videos"),
                ("DFDCP_FakeA", "method_A"),
                ("DFDCP_FakeB", "method_B"),
            )
        }
        for split, number in (("train", 6), ("test", 3))
    }
    write_index(
        indices / "DFDCP.json",
        {label: repeated(clips["train"][label], clips["test"][label]) for label in clips["train"]},
        images,
    )
    # every person is swapped with the next, so all are linked; train lists the test videos too
    people = range(10)
    real = frames("Celeb-DF-v2/Celeb-real/frames", (f"id{i}_0000" for i in people))
    fake = frames("Celeb-DF-v2/Celeb-synthesis/frames", (f"id{i}_id{(i + 1) % 10}_0000" for i in people))
    write_index(
        indices / "Celeb-DF-v2.json",
        {
            label: repeated(videos, dict(itertools.islice(videos.items(), 4)))
            for label, videos in (("CelebDFv2_real", real), ("CelebDFv2_fake", fake))
        },
        images,
    )
    # all videos stand in all three splits
    scenes = [f"{i:02d}__exit_phone_room" for i in range(1, 13)]
    actors = frames("FaceForensics++/original_sequences/actors/c23/frames", scenes)
    swaps = [f"{i:02d}_{i % 12 + 1:02d}__exit_phone_room__AB12CD34" for i in range(1, 13)]
    swapped = frames("FaceForensics++/manipulated_sequences/DeepFakeDetection/c23/frames", swaps)
    write_index(
        indices / "DeepFakeDetection.json",
        {label: dict.fromkeys(FF_SPLITS, videos) for label, videos in (("DFD_real", actors), ("DFD_fake", swapped))},
        images,
        compression="c23",
    )


def df40(root: Path) -> None:
    indices = root / "dataset_json"
    write_ff(root, indices)
    names = ("mcnet", "blendface", "wav2lip", "sadtalker", "simswap", "inswap", *DF40_STILLS)
    for name in names:
        stills = name in DF40_STILLS
        splits = {}
        for split, folder in (("train", f"DF40_train/{name}"), ("test", f"DF40/{name}/ff")):
            numbers = FF_SPLITS[split]
            splits[split] = (
                frames(folder, (f"{i:03d}" for i in numbers), "seed0188")
                if stills
                else frames(f"{folder}/frames", pairs(numbers))
            )
        real = {
            split: frames(
                "FaceForensics++/original_sequences/youtube/c23/frames", (f"{i:03d}" for i in FF_SPLITS[split])
            )
            for split in ("train", "test")
        }
        write_index(
            indices / f"{name}_ff.json",
            {
                f"{name}_Real": repeated(real["train"], real["test"]),
                f"{name}_Fake": repeated(splits["train"], splits["test"]),
            },
            root,
            prefix="deepfakes_detection_datasets/",
            separator="/",
        )


def sdv21(root: Path) -> None:
    for kind, number in itertools.product(("real", "fake"), range(12)):
        write_image(root / kind / f"{kind}{number:05d}.png")


def cddb(root: Path) -> None:
    sets = {**dict.fromkeys(CDDB_PLAIN, ("",)), **CDDB_SUBCLASSES}
    for name, shown in sets.items():
        for (split, number), kind in itertools.product((("train", 4), ("val", 2)), ("0_real", "1_fake")):
            for i in range(number):
                write_image(root / name / split / shown[i % len(shown)] / kind / f"{name}{split}{kind}{i}.png")


def ai_genbench(root: Path, generators: Iterable[str]) -> None:
    for split, fakes, reals in (("train", 2, 99), ("validation", 1, 9)):
        for name, number in [*((generator, fakes) for generator in generators), ("real", reals)]:
            for i in range(number):
                write_image(root / split / name / f"{split}_{name}{i}.png")


def ow_dfa(root: Path) -> None:
    """Write both protocols: three of four images of a known class are labelled; of twelve fakes each, and of more reals."""
    sets = [(True, *item) for item in OW_DFA_KNOWN.items()] + [(False, *item) for item in OW_DFA_NOVEL.items()]
    fakes = [(known, source, name, 12) for known, source, names in sets for name in names]
    reals = [(True, "FaceForensics++", "Real", 40), (False, "CelebDF", "Real", 12)]
    for protocol, classes in ((1, fakes), (2, fakes + reals)):
        rows = []
        for label, (known, source, name, number) in enumerate(classes):
            for i in range(number):
                pair = f"{i:03d}" if name == "Real" else f"{i:03d}_{i + 100}"
                video = {"FaceForensics++": pair, "CelebDF": f"id{i}_0000"}.get(source, f"{name}{i}")
                path = f"{source.strip('+')}/{name}/{i}.png"
                write_image(root / "images" / path)
                rows.append([video, label, name, 1 if known and i % 4 else 2, source, f"/data/{path}"])
        columns = ["img_name", "label", "method", "tag", "image_source", "img_path"]
        pd.DataFrame(rows, columns=columns).to_csv(root / f"protocol_{protocol}.csv", index=False)


def table(root: Path, file: str, sources: Mapping[str, Iterable[str]]) -> None:
    """Write a frame table of the methods by source; every group is a real and its fakes."""
    rows = []
    for source, methods in sources.items():
        for (split, number), method in itertools.product((("train", 4), ("val", 2), ("test", 2)), ("real", *methods)):
            for i in range(number):
                path = f"{source}/{method}/{split}{i}.png"
                write_image(root / path)
                label = int(method != "real" and not method.startswith("null_"))
                rows.append([path, label, method, source, f"{source}/{split}{i}", split])
    frame = pd.DataFrame(rows, columns=["path", "label", "method", "source", "group", "split"])
    if file.endswith(".csv"):
        frame.to_csv(root / file, index=False)
    else:
        write_table(FrameTable(check_frame(frame, file), root), root / file)
