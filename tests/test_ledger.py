from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
import torch
from torch import nn

from continual_df import ledger as module
from continual_df.cost import EVALUATION_PHASES
from continual_df.ledger import Ledger, add_flops, combine_ranks, phase


def multiply(rows: int = 3) -> int:
    """Run a product and return its FLOPs."""
    torch.randn(rows, 4) @ torch.randn(4, 5)
    return 2 * rows * 4 * 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only moves when a test says so."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def fail() -> None:
    raise ZeroDivisionError


def phases(ledger: Ledger, task: int = 0) -> dict[str, dict[str, Any]]:
    found = [entry["phases"] for entry in ledger.to_json()["tasks"] if entry["task"] == task]
    return dict(found[0]) if found else {}


def test_nested_phase_is_taken_off_the_outer_one(clock: list[float]) -> None:
    ledger = Ledger()
    with ledger.phase("selection"):
        clock[0] += 1
        outer = multiply(3)
        with ledger.phase("teacher", images=7):
            clock[0] += 10
            inner = multiply(6)
        clock[0] += 100
        outer += multiply(2)
    clock[0] += 1000
    multiply()
    found = phases(ledger)
    assert (found["selection"]["seconds"], found["selection"]["flops"]) == (101, outer)
    assert (found["teacher"]["seconds"], found["teacher"]["flops"]) == (10, inner)
    assert found["teacher"]["images"] == 7


def test_phase_function_charges_the_active_ledger_only() -> None:
    ledger = Ledger()
    with phase("teacher"):
        multiply()
    assert ledger.cost().flops == 0
    with ledger.activate(), phase("teacher", images=2):
        spent = multiply()
        add_flops(1000)
    with phase("teacher"):
        multiply()
    add_flops(5)
    assert ledger.cost(phases=["teacher"]).flops == spent + 1000
    assert ledger.cost().images == 2


def test_phase_closes_when_its_work_fails(clock: list[float]) -> None:
    ledger = Ledger()
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117  the phase must be left by the exception
        with ledger.phase("teacher"):
            clock[0] += 1
            fail()
    clock[0] += 10
    multiply()
    assert (ledger.cost().seconds, ledger.cost().flops) == (1, 0)


def test_step_splits_by_rows_exactly(clock: list[float]) -> None:
    ledger = Ledger()
    flops = 0
    for _ in range(3):
        with ledger.step({"train": 24, "replay": 8}, key="a"):
            clock[0] += 4
            flops += multiply()
    found = phases(ledger)
    assert found["replay"]["flops"] == flops / 4
    assert found["train"]["flops"] == flops * 3 / 4
    assert (found["train"]["seconds"], found["replay"]["seconds"]) == (9, 3)
    assert (found["train"]["images"], found["replay"]["images"]) == (72, 24)
    assert (found["train"]["steps"], found["replay"]["steps"]) == (3, 0)


def test_step_keeps_nested_phases_apart_when_its_cost_is_known(clock: list[float]) -> None:
    ledger = Ledger()
    for number in range(4):
        with ledger.step({"train": 3, "replay": 1}, key="a"):
            clock[0] += 1
            own = multiply(4)
            with ledger.phase("teacher", images=4):
                clock[0] += 2
                teacher = multiply(2)
        assert ledger.cost(phases=["teacher"]).flops == (number + 1) * teacher
        assert ledger.cost(phases=["train", "replay"]).flops == (number + 1) * own
    assert ledger.cost(phases=["teacher"]).seconds == 8
    assert ledger.cost(phases=["train", "replay"]).seconds == 4
    assert ledger.cost(phases=["teacher"]).images == 16


def test_known_step_costs_as_counting_every_step_does() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    model(torch.randn(1, 3, 8, 8))
    ledgers = [Ledger(), Ledger(count_every_step=True)]
    for ledger in ledgers:
        for size in [4, 4, 2, 4, 2]:
            with ledger.step({"train": size}, key=size):
                model(torch.randn(size, 3, 8, 8)).sum().backward()
                with ledger.phase("teacher"), torch.no_grad():
                    model(torch.randn(size, 3, 8, 8))
                ledger.add_flops(3)
    cached, counted = (phases(ledger) for ledger in ledgers)
    assert {name: cost["flops"] for name, cost in cached.items()} == {n: c["flops"] for n, c in counted.items()}
    assert cached["train"]["flops"] > cached["teacher"]["flops"] > 0


def test_counting_every_step_sees_work_that_differs_at_equal_keys() -> None:
    ledger = Ledger(count_every_step=True)
    spent = 0
    for rows in (2, 5, 3):
        with ledger.step({"train": 1}, "a"):
            spent += multiply(rows)
    assert ledger.cost().flops == spent


def test_only_the_first_step_of_a_key_is_counted_by_operator() -> None:
    ledger = Ledger()
    running = []
    for key in ["a", "a", "b", "a"]:
        with ledger.step({"train": 1}, key):
            running.append(ledger._counter.running)
    ledger.forget_steps()
    with ledger.step({"train": 1}, "a"):
        running.append(ledger._counter.running)
    assert running == [True, False, True, False, True]


def test_broken_step_is_charged_but_not_taken_as_the_cost_of_its_key() -> None:
    ledger = Ledger()
    spent = 0
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117  the step must be left by the exception
        with ledger.step({"train": 1}, "a"):
            spent += multiply(2)
            fail()
    assert (ledger.cost().flops, ledger.cost().steps) == (spent, 0)
    with ledger.step({"train": 1}, "a"):
        spent += multiply(5)
    assert (ledger.cost().flops, ledger.cost().steps) == (spent, 1)


def test_open_phase_claims_the_steps_inside_it() -> None:
    ledger = Ledger()
    with ledger.phase("selection"):
        ledger.pause()
        for _ in range(2):
            with ledger.step({"predict": 5}, "p"):
                spent = multiply()
            multiply(50)  # between steps: loading, not the learner's work
        ledger.resume()
        own = multiply(2)
    found = phases(ledger)
    assert set(found) == {"selection"}
    assert found["selection"]["flops"] == 2 * spent + own
    assert (found["selection"]["images"], found["selection"]["steps"]) == (10, 2)


def test_phase_inside_a_pause_is_counted() -> None:
    ledger = Ledger()
    ledger.pause()
    multiply()
    with ledger.phase("selection"):
        spent = multiply()
    multiply()
    ledger.resume()
    assert ledger.cost().flops == spent


def test_time_before_a_step_can_belong_to_it(clock: list[float]) -> None:
    ledger = Ledger()
    with ledger.phase("search"):
        clock[0] = 5
        ledger.pause()
        clock[0] = 7
        ledger.open_step({"train": 1}, "a", since=6)
        clock[0] = 9
        ledger.close_step()
        ledger.resume()
    ledger.pause()
    clock[0] = 20
    ledger.open_step({"train": 1}, "a", since=18)
    clock[0] = 21
    ledger.close_step()
    assert ledger.cost(phases=["search"]).seconds == 9
    assert ledger.cost(phases=["train"]).seconds == 3


def test_totals_are_the_sum_over_tasks_and_phases() -> None:
    ledger = Ledger()
    for task in range(3):
        ledger.task = task
        for name in ["train", "validate"]:
            with ledger.step({name: task + 1}, (name, task)):
                multiply(task + 1)
    written = json.loads(json.dumps(ledger.to_json()))
    assert written["schema"] == 2
    assert [entry["task"] for entry in written["tasks"]] == [0, 1, 2]
    for field in ["flops", "seconds", "images", "steps"]:
        parts = [cost[field] for entry in written["tasks"] for cost in entry["phases"].values()]
        assert written["total"][field] == pytest.approx(sum(parts))
    assert written["total"]["images"] == 12
    assert ledger.cost(task=2, but=EVALUATION_PHASES).flops == 2 * 3 * 4 * 5


def test_state_round_trip_goes_on_as_if_uninterrupted() -> None:
    def work(ledger: Ledger, task: int) -> None:
        ledger.task = task
        for _ in range(2):
            with ledger.step({"train": 3, "replay": 1}, "a"):
                multiply()
        with ledger.phase("selection"):
            torch.linalg.svd(torch.randn(3, 3))

    whole, first, second = Ledger(), Ledger(), Ledger()
    work(whole, 1)
    work(first, 1)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.to_json() == first.to_json()
    work(whole, 2)
    work(second, 2)
    for task in (1, 2):
        for name in ("train", "replay", "selection"):
            expected, found = (ledger.cost(task, [name]) for ledger in (whole, second))
            assert (found.flops, found.images, found.steps) == (expected.flops, expected.images, expected.steps)
    assert second.to_json()["uncounted"] == ["_linalg_svd"]


def test_peak_memory_is_that_of_the_process_and_null_without_cuda() -> None:
    ledger = Ledger()
    with ledger.phase("selection"):
        torch.ones(20_000_000).sum()  # 80 MB
    cost = ledger.cost()
    assert cost.peak_rss_bytes is not None
    assert cost.peak_rss_bytes > 80_000_000
    if not torch.cuda.is_available():
        assert cost.peak_cuda_bytes is None


def test_cuda_peak_goes_to_the_phase_in_which_it_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device:
        peak = 0

        def is_initialized(self) -> bool:
            return True

        def max_memory_allocated(self) -> int:
            return self.peak

        def reset_peak_memory_stats(self) -> None:
            self.peak = 1

    device = Device()
    monkeypatch.setattr(module, "_cuda", device)
    ledger = Ledger()
    with ledger.phase("train"):
        device.peak = 5
        with ledger.phase("teacher"):
            device.peak = 9
        device.peak = 3
    assert ledger.cost(phases=["train"]).peak_cuda_bytes == 5
    assert ledger.cost(phases=["teacher"]).peak_cuda_bytes == 9
    assert ledger.cost().peak_cuda_bytes == 9


def test_every_device_that_has_trained_is_named_once() -> None:
    ledger, other = Ledger(), Ledger()
    ledger.devices |= {"cpu"}
    other.load_state_dict(ledger.state_dict())
    other.devices |= {"NVIDIA H100"}
    combined = combine_ranks([ledger.state_dict(), other.state_dict()])
    assert combined.to_json()["devices"] == ["NVIDIA H100", "cpu"]


def test_ranks_add_their_work_and_share_their_time() -> None:
    def state(flops: float, seconds: float) -> dict[str, Any]:
        cost = {"flops": flops, "seconds": seconds, "images": 4, "steps": 2, "peak_rss_bytes": 10}
        return {"costs": [[1, "train", cost]], "uncounted": [], "steps": []}

    cost = combine_ranks([state(100.0, 3.0), state(50.0, 5.0)]).cost(1, ["train"])
    assert (cost.flops, cost.seconds, cost.images, cost.steps, cost.peak_rss_bytes) == (150, 5, 8, 2, 10)


def test_misuse_is_refused() -> None:
    ledger = Ledger()
    with pytest.raises(ValueError, match="at least one row"):
        ledger.open_step({"train": 0}, "a")
    with ledger.step({"train": 1}, "a"), pytest.raises(RuntimeError, match="open already"):
        ledger.open_step({"train": 1}, "b")
