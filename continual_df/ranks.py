"""The processes that train together."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor


def is_writer() -> bool:
    """Return whether this process writes the run folder: the first of those that train together."""
    return getattr(rank_zero_only, "rank", 0) == 0


def rank_and_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def from_all(value: Any) -> list[Any]:  # noqa: ANN401
    """Return ``value`` of every process, by rank; all must call it."""
    size = rank_and_size()[1]
    if size == 1:
        return [value]
    gathered: list[Any] = [None] * size
    torch.distributed.all_gather_object(gathered, value)
    return gathered


def largest_of_all(values: list[int], device: torch.device) -> list[int]:
    """Return the largest of each of ``values`` over all processes; all must call it."""
    return _reduced(values, device, torch.distributed.ReduceOp.MAX)


def sums_of_all(values: list[int], device: torch.device) -> list[int]:
    """Return the sum of each of ``values`` over all processes; all must call it."""
    return _reduced(values, device, torch.distributed.ReduceOp.SUM)


def _reduced(values: list[int], device: torch.device, operation: Any) -> list[int]:  # noqa: ANN401
    if rank_and_size()[1] == 1:
        return values
    tensor = torch.tensor(values, device=device)
    torch.distributed.all_reduce(tensor, op=operation)
    return [int(value) for value in tensor.tolist()]


def rows_of_all(rows_BD: Tensor) -> Tensor:
    """Return the rows of every process one below the other, with their gradients; all must call it.

    A loss over all of these rows, the same in each process, has the gradient of the global batch after DDP's averaging.
    """
    if rank_and_size()[1] == 1:
        return rows_BD
    sizes: list[int] = from_all(len(rows_BD))
    padding = rows_BD.new_zeros(max(sizes) - len(rows_BD), *rows_BD.shape[1:])
    gather: Any = _Gather.apply  # untyped
    parts = gather(torch.cat([rows_BD, padding]))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class _Gather(torch.autograd.Function):
    """The tensor of every process; what reaches it of gradients is summed over all of them."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, own.contiguous())
        if not own.is_floating_point():
            ctx.mark_non_differentiable(*parts)
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        summed = torch.stack(gradients)
        torch.distributed.all_reduce(summed)
        return summed[torch.distributed.get_rank()]
