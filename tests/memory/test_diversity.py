from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from continual_df.memory import memory_report, vendi_score
from continual_df.memory.gaussian_kernel import median_distance
from continual_df.randomness import generator_at
from continual_df.task import Rows


def make_rows(sizes: list[int]) -> Rows:
    domain = torch.cat([torch.full((size,), i) for i, size in enumerate(sizes)])
    return Rows(torch.arange(len(domain)), domain % 2, domain, domain // 2)


def make_features(num: int) -> Tensor:
    return torch.randn(num, 4, generator=torch.Generator().manual_seed(0)) + 3


def mask(num: int, chosen: list[int]) -> Tensor:
    return torch.isin(torch.arange(num), torch.tensor(chosen, dtype=torch.long))


def naive_mmd(a: np.ndarray, b: np.ndarray, bandwidth: float) -> float:
    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([[math.exp(-(math.dist(p, q) ** 2) / (2 * bandwidth**2)) for q in y] for p in x]))

    return math.sqrt(max(0, mean(a, a) - 2 * mean(a, b) + mean(b, b)))


def test_report_is_that_of_the_double_loop_over_each_domain() -> None:
    feature_ND, rows = make_features(40), make_rows([25, 15])
    chosen = [0, 3, 4, 9, 30, 31]
    report = memory_report(feature_ND, rows, mask(40, chosen))
    assert report[["task", "label", "num", "num_memory"]].to_numpy().tolist() == [[0, 0, 25, 4], [0, 1, 15, 2]]
    for line, own, picked in zip(
        report.itertuples(), (range(25), range(25, 40)), (chosen[:4], chosen[4:]), strict=True
    ):
        full, some = feature_ND[list(own)].double(), feature_ND[picked].double()
        bandwidth = median_distance(full)
        assert line.mmd_memory == pytest.approx(naive_mmd(some.numpy(), full.numpy(), bandwidth))
        similarity = torch.exp(-(torch.cdist(some, some) ** 2) / (2 * bandwidth**2))
        assert line.vendi_memory == pytest.approx(vendi_score(similarity))


def test_the_whole_domain_is_at_distance_zero_as_every_sample_of_that_size() -> None:
    report = memory_report(make_features(12), make_rows([12]), mask(12, list(range(12))))
    assert report.loc[0, "mmd_memory"] == pytest.approx(0, abs=1e-6)
    assert report.loc[0, "mmd_random"] == pytest.approx(0, abs=1e-6)
    assert report.loc[0, "vendi_memory"] == pytest.approx(report.loc[0, "vendi_random"])


def test_a_memory_of_one_corner_is_further_away_and_poorer_than_a_random_one() -> None:
    feature_ND = make_features(200)
    corner = feature_ND[:, 0].argsort()[:20].tolist()
    line = memory_report(feature_ND, make_rows([200]), mask(200, corner)).loc[0]
    assert line["mmd_memory"] > 2 * line["mmd_random"]
    assert line["vendi_memory"] < line["vendi_random"]


def test_random_samples_are_means_over_ten_draws_addressed_by_seed_and_domain() -> None:
    feature_ND, rows, chosen_N = make_features(60), make_rows([30, 30]), mask(60, [1, 2, 4, 40, 50, 51])
    report = memory_report(feature_ND, rows, chosen_N, seed=7)
    for label in (0, 1):
        generator = generator_at(7, 0, label)
        draws = [30 * label + generator.permutation(30)[:3] for _ in range(10)]
        lines = [memory_report(feature_ND, rows, mask(60, draw.tolist())).loc[label] for draw in draws]
        assert report.loc[label, "mmd_random"] == pytest.approx(np.mean([line["mmd_memory"] for line in lines]))
        assert report.loc[label, "vendi_random"] == pytest.approx(np.mean([line["vendi_memory"] for line in lines]))
    other = memory_report(feature_ND, rows, chosen_N, seed=8)
    assert other["mmd_random"].tolist() != report["mmd_random"].tolist()
    assert other["mmd_memory"].tolist() == report["mmd_memory"].tolist()


def test_a_domain_without_memory_has_no_numbers() -> None:
    report = memory_report(make_features(20), make_rows([10, 10]), mask(20, [2]))
    assert report["num_memory"].tolist() == [1, 0]
    assert report.loc[1, ["vendi_memory", "vendi_random", "mmd_memory", "mmd_random"]].isna().all()
    assert report.loc[0, "vendi_memory"] == pytest.approx(1)


def test_rows_in_chunks_give_what_they_give_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = make_features(50), make_rows([50]), mask(50, [0, 7, 30])
    whole = memory_report(*arguments)
    monkeypatch.setattr("continual_df.memory.diversity.CHUNK_ROWS", 7)
    assert memory_report(*arguments).loc[0].tolist() == pytest.approx(whole.loc[0].tolist())


def test_no_rows_give_an_empty_report_with_its_columns() -> None:
    report = memory_report(torch.empty(0, 3), Rows.empty(), torch.empty(0, dtype=torch.bool))
    assert len(report) == 0
    assert "vendi_memory" in report
