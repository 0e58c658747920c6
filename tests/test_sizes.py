from __future__ import annotations

import pytest
import torch
from torch import nn

from continual_df.ledger import Ledger, combine_ranks
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.weight_average import WeightAverage
from continual_df.models.weight_store import WeightStore
from continual_df.sizes import charge_pretraining, note_parameters, note_stored
from tests.toy import TinyDetector


class Learner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.norm, self.past = nn.Linear(4, 5), nn.BatchNorm1d(5), WeightStore()
        self.teacher: nn.Module | None = None


def test_parameters_are_counted_by_task_with_what_the_task_has_added() -> None:
    ledger, learner = Ledger(), Learner()
    ledger.task = 1
    note_parameters(ledger, learner)
    learner.teacher = FrozenCopy(learner.net)
    ledger.task = 2
    note_parameters(ledger, learner)
    first, second = (ledger.sizes[task] for task in (1, 2))
    assert (first.total, first.trainable, first.added) == (4 * 5 + 5 + 10, 35, 0)
    assert (second.total, second.trainable, second.added) == (35 + 25, 35, 25)


def test_stored_bytes_tell_model_teacher_and_past_models_apart() -> None:
    ledger, learner = Ledger(), Learner()
    learner.teacher = FrozenCopy(learner.net)
    learner.past.keep(learner.net.state_dict())
    learner.past.keep(learner.net.state_dict())
    note_parameters(ledger, learner)
    note_stored(ledger, learner)
    norm = 4 * (5 + 5 + 5 + 5) + 8  # weights, biases, means, variances; the number of batches is a long
    stored = ledger.sizes[0].stored_bytes
    assert stored == {"model": 4 * 25 + norm, "teacher": 4 * 25, "past_models": 2 * 4 * 25}


def test_slow_weights_are_part_of_the_model_which_they_are_when_it_predicts() -> None:
    ledger, learner = Ledger(), Learner()
    learner.teacher = WeightAverage(learner.net)
    note_parameters(ledger, learner)
    note_stored(ledger, learner)
    assert ledger.sizes[0].stored_bytes["teacher"] == 0


def test_sizes_and_notes_stand_in_compute_json_survive_checkpoints_and_are_those_of_one_process() -> None:
    ledger, again = Ledger(), Ledger()
    ledger.task = 3
    note_parameters(ledger, Learner())
    note_stored(ledger, Learner())
    ledger.notes.add("A sentence.")
    again.load_state_dict(ledger.state_dict())
    for found in (again, combine_ranks([ledger.state_dict(), again.state_dict()])):
        content = found.to_json()
        assert content == ledger.to_json()
        assert content["tasks"][0]["parameters"] == {"total": 35, "trainable": 35, "added": 0}
        assert content["notes"] == ["A sentence."]


def test_pretraining_is_a_phase_of_its_own_and_no_part_of_the_total() -> None:
    ledger, detector = Ledger(), TinyDetector()
    detector.pretrain_flops = 5e15
    charge_pretraining(ledger, detector)
    with ledger.phase("selection"):
        torch.randn(3, 4) @ torch.randn(4, 5)
    content = ledger.to_json()
    assert content["tasks"][0]["phases"]["pretrain"]["flops"] == 5e15
    assert content["total"]["flops"] == 2 * 3 * 4 * 5
    assert content["notes"] == []


@pytest.mark.parametrize(("flops", "says"), [(0.0, False), (None, True)])
def test_pretraining_whose_cost_nobody_stated_is_said(flops: float | None, says: bool) -> None:
    ledger, detector = Ledger(), TinyDetector()
    detector.pretrain_flops = flops
    charge_pretraining(ledger, detector)
    assert any("pretrain_flops" in note for note in ledger.to_json()["notes"]) is says
    assert "pretrain" not in {phase for _, phase in ledger._costs}
