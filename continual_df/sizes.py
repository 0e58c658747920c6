"""How large a method is, and what its weights have cost before the stream: what the ledger notes beside its phases."""

from __future__ import annotations

from torch import nn

from continual_df.cost import Sizes
from continual_df.ledger import Ledger
from continual_df.models.detector import Detector
from continual_df.models.frozen_copy import FrozenCopy
from continual_df.models.weight_average import WeightAverage
from continual_df.models.weight_store import WeightStore


def note_parameters(ledger: Ledger, module: nn.Module) -> None:
    """Note how many parameters ``module`` has while the ledger's task trains, and how many more than in the task before."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    total = sum(size for size, _ in sizes)
    before = ledger.sizes[ledger.task - 1].total if ledger.task - 1 in ledger.sizes else total
    ledger.sizes[ledger.task] = Sizes(total, sum(size for size, trainable in sizes if trainable), total - before)


def note_stored(ledger: Ledger, module: nn.Module) -> None:
    """Note the bytes of parameters and buffers that ``module`` keeps after the ledger's task, by what they are for.

    Slow weights are part of the model: they predict.
    """
    stored = {"model": _num_bytes(module), "teacher": 0, "past_models": 0}
    for part in module.modules():
        if isinstance(part, FrozenCopy) and not isinstance(part, WeightAverage):
            stored["teacher"] += _num_bytes(part)
        elif isinstance(part, WeightStore):
            stored["past_models"] += part.num_bytes
    stored["model"] -= stored["teacher"]
    ledger.sizes[ledger.task].stored_bytes = stored


def charge_pretraining(ledger: Ledger, detector: Detector) -> None:
    """Charge what the detector's weights have cost before the stream; where nobody has said it, note that."""
    if detector.pretrain_flops is None:
        ledger.notes.add(
            "What the pretrained weights have cost is not stated, and not in here: set "
            "model.init_args.detector.init_args.pretrain_flops."
        )
    elif detector.pretrain_flops:
        with ledger.phase("pretrain"):
            ledger.add_flops(detector.pretrain_flops)


def _num_bytes(module: nn.Module) -> int:
    """Return the bytes of the parameters and buffers of ``module``."""
    return sum(value.nbytes for value in (*module.parameters(), *module.buffers()))
