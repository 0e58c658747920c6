"""Values ``${...}`` around a class that a later file or flag changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from continual_df.commands.stream_cli import StreamCLI, parse_settings
from continual_df.errors import ConfigError

BASE = """
trainer: {max_epochs: 3}
model:
  class_path: Finetune
  init_args:
    detector: {class_path: TimmDetector, init_args: {backbone: test_resnet}}
    lr_scheduler: {class_path: torch.optim.lr_scheduler.StepLR, init_args: {step_size: "${trainer.max_epochs}"}}
data:
  class_path: ForgeryStream
  init_args:
    tables: [{class_path: TableFile, init_args: {path: nowhere.csv}}]
    tasks: [{methods: [a]}]
"""


class ParsedOnly(StreamCLI):
    """The settings, resolved by the parser, with nothing built from them."""

    def instantiate_classes(self) -> None:
        pass


@pytest.fixture
def base(tmp_path: Path) -> list[str]:
    (tmp_path / "base.yaml").write_text(BASE)
    return ["--config", str(tmp_path / "base.yaml")]


@pytest.mark.parametrize("flag", [["--model", "Joint"], ["--model=Joint"], ["--config", "joint.yaml"]])
def test_a_reference_that_would_be_lost_with_its_class_is_refused(
    flag: list[str], base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("joint.yaml").write_text("model: {class_path: continual_df.methods.Joint}")
    with pytest.raises(
        ConfigError, match=r"base\.yaml: model\.init_args\.lr_scheduler: its \$\{\.\.\.\} would be lost"
    ):
        parse_settings([*base, *flag], ParsedOnly)


def test_a_reference_of_the_same_class_is_kept(base: list[str], tmp_path: Path) -> None:
    (tmp_path / "same.yaml").write_text(
        "model: {class_path: continual_df.methods.Finetune, init_args: {batch_size: 4}}"
    )
    for flags in ([], ["--model", "Finetune"], ["--config", str(tmp_path / "same.yaml")]):
        config = parse_settings([*base, *flags], ParsedOnly).config
        assert config["model.init_args.lr_scheduler.init_args.step_size"] == 3


def test_a_reference_goes_where_the_new_class_has_no_use_for_it_or_its_file_gives_another(
    base: list[str], tmp_path: Path
) -> None:
    memory = "{class_path: ReplayMemory, init_args: {capacity: 4, seed: '${seed_everything}'}}"
    scheduler = "{class_path: torch.optim.lr_scheduler.ConstantLR}"
    (tmp_path / "replay.yaml").write_text(
        f"model: {{class_path: Replay, init_args: {{memory: {memory}, lr_scheduler: {scheduler}}}}}"
    )
    argv = [*base, "--config", str(tmp_path / "replay.yaml")]
    kept = parse_settings(argv, ParsedOnly).config
    assert kept["model.init_args.lr_scheduler.class_path"].endswith("ConstantLR")
    assert parse_settings([*argv, "--model", "Joint"], ParsedOnly).config["model.class_path"].endswith("Joint")
