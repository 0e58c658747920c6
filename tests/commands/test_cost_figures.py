from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from continual_df import cli
from continual_df.commands import cost_figures, plot
from continual_df.commands import figures as figures_of_runs
from continual_df.commands.cost_figures import draw_cost_figures
from continual_df.errors import ConfigError, RunFolderError
from continual_df.plots.run_group import RunGroup
from tests.cost_runs import write_costs, write_sources, write_validation
from tests.runs import WriteRun, finish_run

Make = Callable[..., RunGroup]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a group of one run of two tasks, with whatever files are asked for."""

    def group(
        name: str, *, costs: bool = True, curves: bool = True, sources: Sequence[int] = (), stream: str = "toy"
    ) -> RunGroup:
        folder = tmp_path / f"{stream}_{name}"
        folder.mkdir()
        (folder / "config.yaml").write_text("seed_everything: 3\n")
        if costs:
            write_costs(folder, [{}, {"train": 1e12}, {"train": 2e12}])
        if curves:
            write_validation(folder, [[(1e12, 0.9)], [(2e12, 0.8), (3e12, 0.9)]])
        write_sources(folder, {number: (source, {0: 0.5}) for number, source in enumerate(sources, start=1)})
        matrix = np.array([[0.5, 0.5], [0.9, 0.5], [0.6, 0.8]])
        tasks = [{"name": "swap"}, {"name": "warp"}]
        return RunGroup(name, stream, [{"stream": stream, "tasks": tasks, "matrices": {"auc": matrix}}], [folder])

    return group


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures by their stem, in place of files."""
    figures: dict[str, Figure] = {}

    def keep(figure: Figure, out: Path, stem: str) -> list[Path]:
        figures[stem] = figure
        return [out / f"{stem}.png"]

    for module in (cost_figures, figures_of_runs):
        monkeypatch.setattr(module, "save_figure", keep)
    return figures


def test_one_run_shows_its_phases_alone(make: Make, drawn: dict[str, Figure], tmp_path: Path) -> None:
    paths, problems = draw_cost_figures([make("Finetune", sources=[])], tmp_path, "auc")
    assert (list(drawn), problems) == (["flops_by_phase"], [])
    assert paths == [tmp_path / "flops_by_phase.png"]


def test_run_that_chose_its_weights_shows_where_they_came_from(
    make: Make, drawn: dict[str, Figure], tmp_path: Path
) -> None:
    draw_cost_figures([make("FT-d", sources=[0, 0])], tmp_path, "auc")
    assert list(drawn) == ["flops_by_phase", "source_graph"]


def test_several_methods_are_set_against_what_they_cost(make: Make, drawn: dict[str, Figure], tmp_path: Path) -> None:
    groups = [make("Independent"), make("Replay"), make("Alone", stream="other")]
    draw_cost_figures(groups, tmp_path, "auc", suffix=1)
    assert list(drawn) == ["flops_by_phase", "error_against_flops_auc"]
    # a stream with one method has nothing to compare
    assert [axes.get_title(loc="left") for axes in drawn["error_against_flops_auc"].axes] == ["toy"]


def test_reference_adds_its_figures_on_streams_that_have_it(
    make: Make, drawn: dict[str, Figure], tmp_path: Path
) -> None:
    groups = [make("Independent"), make("Replay"), make("A", stream="other"), make("B", stream="other")]
    _, problems = draw_cost_figures(groups, tmp_path, "auc", reference="Independent")
    assert list(drawn)[2:] == ["regret_curves_auc", "error_by_task_auc", "learning_time"]
    for stem in list(drawn)[2:]:
        assert [axes.get_title(loc="left") for axes in drawn[stem].axes] == ["toy"]
    assert problems == [
        "Nothing on 'other' is drawn against Independent: it takes a run of it and one of another method there."
    ]


def test_what_lacks_its_files_is_left_out_and_said(make: Make, drawn: dict[str, Figure], tmp_path: Path) -> None:
    groups = [make("Independent"), make("Replay", curves=False), make("LwF"), make("Old", costs=False)]
    _, problems = draw_cost_figures(groups, tmp_path, "auc", reference="Independent")
    assert problems == [
        "No figures of costs of Old: a run has no compute.json.",
        "No times to learn of Replay: a metrics.csv, of theirs or of Independent, lacks val/auc or compute/flops.",
    ]
    assert [text.get_text() for text in drawn["learning_time"].axes[0].texts] == ["Independent (reference)", "LwF"]
    assert len(drawn["flops_by_phase"].axes) == 3


def test_reference_without_validations_leaves_out_the_times(
    make: Make, drawn: dict[str, Figure], tmp_path: Path
) -> None:
    groups = [make("Independent", curves=False), make("Replay")]
    _, problems = draw_cost_figures(groups, tmp_path, "auc", reference="Independent")
    assert "learning_time" not in drawn
    assert problems[0].startswith("No times to learn of Independent, Replay: a metrics.csv")


def test_reference_that_is_not_there_and_broken_files_are_refused(make: Make, tmp_path: Path) -> None:
    groups = [make("Independent"), make("Replay")]
    with pytest.raises(
        ConfigError, match=r"--reference 'FT-d' is not among the methods\. Use one of Independent, Replay"
    ):
        draw_cost_figures(groups, tmp_path, "auc", reference="FT-d")
    (groups[0].folders[0] / "compute.json").write_text("{}")
    with pytest.raises(RunFolderError, match=r"compute\.json: schema None is not known"):
        draw_cost_figures(groups, tmp_path, "auc")


def test_plot_draws_costs_of_finished_runs(
    write_run: WriteRun, drawn: dict[str, Figure], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("Independent", "Replay"):
        finish_run(write_run(f"runs/{method}", method=method))
    arguments = [str(tmp_path / "runs"), "--no-images", "--reference", "Independent", "--suffix", "2"]
    assert plot.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "No times to learn of Independent, Replay" in printed
    assert str(tmp_path / "runs/figures/flops_by_phase.png") in printed
    assert list(drawn)[3:] == [
        "flops_by_phase",
        "error_against_flops_auc",
        "regret_curves_auc",
        "error_by_task_auc",
    ]
    assert "mean of the last 2 tasks" in drawn["error_against_flops_auc"].axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (["--reference", "FT-d"], "--reference 'FT-d' is not among the methods. Use one of Independent."),
        (["--suffix", "9"], "has 3 tasks. Give a number from 1 to that."),
    ],
)
def test_wrong_arguments_of_plot_are_one_sentence(
    wrong: list[str],
    problem: str,
    write_run: WriteRun,
    drawn: dict[str, Figure],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = finish_run(write_run("run", method="Independent"))
    assert cli.main(["plot", str(run), "--no-images", *wrong]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1
    assert not (run / "figures").exists()
