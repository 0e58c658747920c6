"""Every YAML under experiments/ but those of sweeps: a new one joins by itself, with its data set in `ROOTS`."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import timm
import yaml

from continual_df.class_names import BETWEEN
from continual_df.cli import main
from continual_df.commands.stream_cli import StreamCLI
from continual_df.data.methods import KNOWN_METHODS, canonical
from continual_df.evaluation import results
from continual_df.forgeries.operators import operators
from continual_df.labels import REAL_METHOD
from tests.experiments import made_up_data

FOLDER = Path(__file__).parents[2] / "experiments"
EXPERIMENTS = sorted(
    path.relative_to(FOLDER).as_posix()
    for path in FOLDER.rglob("*.yaml")
    if path.relative_to(FOLDER).parts[0] not in ("compare", "nevis")
)
"""Those in compare/ and nevis/ are sweeps, and the parts of which they put their runs together."""

PUBLISHED = {
    "sur_lid/protocol_1.yaml": ["SDv21", "FF++", "DFDCP", "CDF"],
    "sur_lid/protocol_2.yaml": ["Hybrid", "FR", "FS", "EFS"],
    "dfil.yaml": ["FF++", "DFDC-P", "DFD", "CDF2"],
    "cddb/easy.yaml": ["GauGAN", "BigGAN", "CycleGAN", "IMLE", "FF++", "CRN", "WildDeepfake"],
    "cddb/hard.yaml": ["GauGAN", "BigGAN", "WildDeepfake", "WhichFaceIsReal", "SAN"],
    "cddb/long.yaml": [
        *["GauGAN", "BigGAN", "CycleGAN", "IMLE", "FF++", "CRN", "WildDeepfake", "Glow", "StarGAN", "StyleGAN"],
        *["WhichFaceIsReal", "SAN"],
    ],
    "df40_ten.yaml": [
        *["FF++", "MCNet", "BlendFace", "StyleGAN3", "StyleGAN-XL", "Wav2Lip", "SadTalker", "StyleGAN2", "SimSwap"],
        "InSwapper",
    ],
    "real_faces/date.yaml": ["stargan", "stylegan2", "dfdc_faceswap", "sd21", "sdxl", "flux1"],
    "real_faces/reversed.yaml": ["flux1", "sdxl", "sd21", "dfdc_faceswap", "stylegan2", "stargan"],
    "real_faces/joint.yaml": ["all six"],
    "open_world/ow_dfa_1.yaml": ["protocol 1"],
    "open_world/ow_dfa_2.yaml": ["protocol 2"],
    "open_world/procedural.yaml": ["six known"],
    "open_world/real_faces.yaml": ["four known"],
}
PUBLISHED["cddb/s_prompts_hard.yaml"] = PUBLISHED["cddb/hard.yaml"]
PUBLISHED["df40_ten_devfd.yaml"] = PUBLISHED["df40_ten.yaml"]

AI_GENBENCH = [
    *["CycleGAN", "Cascaded Refinement Networks", "ProGAN", "StarGAN", "SN-PatchGAN", "BigGAN", "IMLE", "StyleGAN1"],
    *["GauGAN", "StyleGAN2", "DDPM", "CIPS", "VQGAN", "GANformer", "ADM", "StyleGAN3", "LaMa", "FaceSynthetics"],
    *["ProjectedGAN", "Palette", "VQ-Diffusion", "Denoising Diffusion GAN", "Glide", "Latent Diffusion", "Midjourney"],
    *["MAT", "Diffusion GAN (ProjectedGAN)", "Diffusion GAN (StyleGAN2)", "Stable Diffusion 1.4"],
    *["Stable Diffusion 1.5", "Stable Diffusion 2.1", "DeepFloyd IF", "Stable Diffusion XL 1.0", "DALL-E 3"],
    *["FLUX 1 Dev", "FLUX 1 Schnell"],
]
"""The generators as the benchmark's metadata spells and orders them."""

REAL_FACES = {"celeba": ["stargan"], "ffhq": ["stylegan2", "sd21", "sdxl", "flux1"], "dfdc": ["dfdc_faceswap"]}

SLOW = (
    "cddb/easy.yaml",
    "cddb/long.yaml",
    "df40_ten_devfd.yaml",
    "real_faces/reversed.yaml",
    "sur_lid/protocol_2.yaml",
)
"""Experiments that train in ``make test-slow``: others train their methods on their data sets. Their settings resolve by default."""

FORGED = [name for name in operators() if not name.startswith("null_")]
CONTROLS = [name for name in operators() if name.startswith("null_")]

OWN_NAMES = {"dfdc_faceswap", "sd21", "flux1", *FORGED}
"""Methods of tables that bring their own names, which no reader translates."""

SMALL: dict[str, Any] = {
    "trainer": {"max_epochs": 1, "limit_train_batches": 1},
    "model": {"init_args": {"detector": {"init_args": {"pretrained": False, "weights": None, "pretrain_flops": None}}}},
    "data": {"init_args": {"image_size": 32, "counts": None}},
}
"""One epoch of one batch, a small detector, and as many images as there are; nothing else is overridden."""

SMALL_BACKBONES: dict[str, dict[str, Any]] = {
    "vit": {
        "backbone": "vit_tiny_patch16_224",
        "img_size": 32,
        "model_args": {"patch_size": 8, "depth": 1, "embed_dim": 32, "num_heads": 2},
    },
    "parts": {"backbone": "test_resnet", "model_args": {"output_stride": 8}},
    "other": {"backbone": "test_resnet"},
}
"""What stands for a ViT, for a backbone whose last map is looked at in parts, and for any other one."""


class Finished(NamedTuple):
    """An experiment that ran on made-up data."""

    name: str
    settings: dict[str, Any]
    folder: Path
    stream: dict[str, Any]


def settings_of(name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return settings


def run_small(name: str, folder: Path, *arguments: str) -> int:
    """Run an experiment with the settings of `SMALL`, and ``arguments`` behind them; return its exit status."""
    small = folder / "small.yaml"
    model = settings_of(name)["model"]["init_args"]
    kind = "vit" if "vit" in model["detector"]["init_args"]["backbone"] else "parts" if "patches" in model else "other"
    settings = copy.deepcopy(SMALL)
    settings["model"]["init_args"]["detector"]["init_args"] |= SMALL_BACKBONES[kind]
    small.write_text(yaml.safe_dump(settings))
    return main(["run", "--config", str(FOLDER / name), "--config", str(small), *arguments])


@pytest.fixture(scope="module")
def cwd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every data set, made up; the environment variables name their roots."""
    root = tmp_path_factory.mktemp("experiments")
    made_up_data.deepfakebench(root / "DEEPFAKEBENCH_ROOT")
    made_up_data.df40(root / "DF40_ROOT")
    made_up_data.sdv21(root / "SDV21_ROOT")
    made_up_data.cddb(root / "CDDB_ROOT")
    made_up_data.ai_genbench(root / "AIGENBENCH_ROOT", AI_GENBENCH)
    made_up_data.ow_dfa(root / "OWDFA_ROOT")
    made_up_data.table(root / "REAL_FACES_ROOT", "frames.csv", REAL_FACES)
    for faces in ("quickstart/faces", "procedural/twelve"):
        made_up_data.table(root / "runs" / faces, "table.parquet", {"orl": [*FORGED, *CONTROLS]})
    with pytest.MonkeyPatch.context() as patch:
        for folder in root.glob("*_ROOT"):
            patch.setenv(folder.name, str(folder))
        patch.chdir(root)
        yield root


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in EXPERIMENTS]
)
def finished(cwd: Path, request: pytest.FixtureRequest) -> Finished:
    settings = settings_of(request.param)
    folder = cwd / settings["run_dir"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            results, "method_sets", lambda _: {}
        )  # much of the time goes there, and they are tested elsewhere
        evaluate = results.evaluate_run
        patch.setattr(results, "evaluate_run", lambda run, _, rows: evaluate(run, 2, rows))
        assert run_small(request.param, cwd) == 0
    return Finished(request.param, settings, folder, json.loads((folder / "stream.json").read_text()))


def test_an_experiment_trains_a_batch_per_task_and_is_evaluated_on_all_tasks(finished: Finished) -> None:
    num_tasks = len(finished.stream["tasks"])
    steps = pd.read_csv(finished.folder / "metrics.csv").query("metric == 'train/loss'")
    assert steps["task"].tolist() == list(range(1, num_tasks + 1))
    result = json.loads((finished.folder / "results.json").read_text())
    matrix = np.array(result["matrices"]["auc"], dtype=float)
    assert matrix.shape == (num_tasks + 1, num_tasks)
    assert np.isfinite(matrix).all() == (finished.settings["data"]["init_args"].get("reals") != "none")
    assert ("open_world" in result) == any(task["unlabelled"] for task in finished.stream["tasks"])


def test_an_experiment_has_the_published_tasks_in_order(finished: Finished) -> None:
    names = [task["name"] for task in finished.stream["tasks"]]
    if finished.name == "ai_genbench_windows.yaml":
        windows = [task["methods"] for task in finished.stream["tasks"]]
        assert [len(window) for window in windows] == [4] * 9
        assert list(itertools.chain(*windows)) == [canonical(generator) for generator in AI_GENBENCH]
    elif finished.name in PUBLISHED:
        assert names == PUBLISHED[finished.name]
    assert names == [
        task.get("name") or "+".join(task["methods"]) for task in finished.settings["data"]["init_args"]["tasks"]
    ]


def test_every_image_that_an_experiment_names_is_used_once_per_task(finished: Finished) -> None:
    members = pd.read_parquet(finished.folder / "membership.parquet").query("task >= 0")
    assert not members.duplicated(["sample", "task"]).any()
    # a class may come without a label before it gets its name
    per_sample = members.replace({"split": {"unlabelled": "train"}}).groupby("sample")["split"].nunique()
    assert (per_sample == 1).all()
    if finished.settings["data"]["init_args"].get("reals") == "split":
        assert members["sample"].is_unique


@pytest.mark.parametrize(
    ("protocol", "labelled", "unlabelled", "known", "novel"), [(1, 12000, 22000, 8, 12), (2, 27000, 32000, 9, 13)]
)
def test_ow_dfa_asks_for_the_published_counts(
    protocol: int, labelled: int, unlabelled: int, known: int, novel: int
) -> None:
    settings = settings_of(f"open_world/ow_dfa_{protocol}.yaml")
    data = settings["data"]["init_args"]
    (task,), counts = data["tasks"], data["counts"]
    named = task["methods"] + ["real"] * (protocol == 2)
    assert (len(named), len(task["unlabelled"])) == (known, novel)
    assert settings["model"]["init_args"]["novel"] == novel
    assert set(counts) == {*named, *task["unlabelled"]}
    # three quarters of each known class have a label (section 2.1 of the paper's table: 1500 + 500, reals 15000 + 5000)
    assert sum(counts[name] for name in named) * 3 // 4 == labelled
    assert sum(counts.values()) - labelled == unlabelled


@pytest.mark.parametrize("protocol", [1, 2])
def test_ow_dfa_on_other_numbers_of_images_is_refused(
    protocol: int, cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = ["--data.init_args.counts", "{face2face: 2000, stylegan2@forgerynir: 1500}"]
    assert run_small(f"open_world/ow_dfa_{protocol}.yaml", cwd, *counts, "--run_dir", "runs/refused") == 2
    assert "face2face: 12 in place of 2000, stylegan2@forgerynir: 12 in place of 1500" in capsys.readouterr().err
    assert not (cwd / "runs/refused").exists()


def test_images_are_labelled_where_a_benchmark_tags_them_so_and_videos_are_whole(finished: Finished) -> None:
    frame = pd.read_parquet(finished.folder / "frames.parquet")
    assert ("tag" in frame) == ("ow_dfa" in finished.name)
    if "tag" not in frame:
        return
    members = pd.read_parquet(finished.folder / "membership.parquet").join(frame.drop(columns="split"), on="sample")
    assert (members.replace({"split": {"unlabelled": "train"}}).groupby("group")["split"].nunique() == 1).all()
    assert set(members.loc[members["split"].isin(["train", "val"]), "tag"]) == {1}
    assert set(members.loc[members["split"] == "unlabelled", "tag"]) == {2}
    assert (members["method"] == "real").any() == (finished.settings["data"]["init_args"]["reals"] != "none")


class ParsedOnly(StreamCLI):
    """The settings, resolved by the parser, with nothing built from them."""

    def instantiate_classes(self) -> None:
        pass


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_real_values_of_an_experiment_resolve(name: str, cwd: Path) -> None:
    config = ParsedOnly(["--config", str(FOLDER / name)]).config
    detector = config.model.init_args.detector.init_args
    assert timm.is_model(detector.backbone)
    if detector.pretrained:
        published = timm.get_pretrained_cfg(detector.backbone)
        assert published is not None
        assert published.has_weights
    classes = {name for task in config.data.init_args.tasks for name in (*task.methods, *task.unlabelled)}
    methods = {name.partition(BETWEEN)[0] for name in classes} - {REAL_METHOD}
    assert methods <= {method.name for method in KNOWN_METHODS} | OWN_NAMES
    assert (cwd / config.run_dir).is_relative_to(cwd / "runs")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_missing_root_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (FOLDER / name).read_text()
    variables = sorted(set(re.findall(r"oc\.env:(\w+)", text)))
    (place,) = set(re.findall(r"(?:oc\.env:\w+,|path: )(runs/\w+)", text)) or {""}
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    expected = []
    if variables:
        assert run_small(name, tmp_path) == 2
        expected.append(place or rf"the environment variable ({'|'.join(variables)}) is not set")
        for variable in variables:
            monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    assert run_small(name, tmp_path) == 2
    expected.append("nowhere" if variables else place)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("continual-df run: ")]
    assert len(said) == len(expected)
    assert all(re.search(pattern, line) for pattern, line in zip(expected, said, strict=True)), said
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_every_environment_variable_is_explained_in_the_comment() -> None:
    for name in EXPERIMENTS:
        text = (FOLDER / name).read_text()
        comment = text.partition("seed_everything")[0]
        assert set(re.findall(r"oc\.env:(\w+)", text)) == set(re.findall(r"\b[A-Z0-9_]+_ROOT\b", comment)), name
