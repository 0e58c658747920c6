"""Error against compute along a stream, as NEVIS'22 judges a learner [1].

Events t = 1..T are the tasks in order; what is repeated counts each time. e_t is the error on the test set of task t right
after event t, c_t what event t has cost to learn (every trial of a search, no evaluation), and b names the reference, a
learner on the same stream and splits such as one that starts every task anew.

NaN means not measured: it is left out of means, a mean over nothing is NaN, and a sum over events is NaN from the first
that was not measured on, since nobody knows it; never is it 0.

[1] Bornschein et al., NEVIS'22: a stream of 100 tasks sampled from 30 years of computer vision research, 2022,
arXiv:2211.11747. It releases no code for anything below but the average; where it leaves a normaliser open, each variant
here has a name, to be shown with the number.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from continual_df.evaluation.matrix import check_matrix

Vector = NDArray[np.float64]
RegretVariant = Literal["per_task", "relative"]
TransferVariant = Literal["points", "relative"]


def event_errors(matrix: ArrayLike, lower_is_better: bool = False) -> Vector:
    """Return (T,): e_t = 1 - a[t, t], the metric's shortfall on each task right after it was learnt.

    Args:
        matrix: (T + 1, T) as in `continual_df.evaluation.matrix`, row 0 before any training.
        lower_is_better: The matrix holds errors already, so that e_t = a[t, t].

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    learnt: Vector = np.diagonal(check_matrix(matrix), offset=-1).copy()
    return learnt if lower_is_better else 1 - learnt


def average_error(error_T: ArrayLike, suffix: int | None = None, weight_T: ArrayLike | None = None) -> float:
    """Return E = sum_{t in S} w_t e_t / sum_{t in S} w_t over the events S that were measured.

    Equal weights are the headline; weighted by the sizes of the test sets, the largest one swamps the others, so that is a
    second number.

    Args:
        error_T: e_t, or any other value of each event.
        suffix: S is the last so many events, those held out for reporting; default the whole stream.
        weight_T: w_t >= 0; default 1.

    Returns:
        NaN if nothing was measured.

    Raises:
        ValueError: If ``suffix`` is not in 1..T, or ``weight_T`` has another length or a weight that is negative or NaN.
    """
    error = _vector("error_T", error_T)
    weight = np.ones_like(error) if weight_T is None else _vector("weight_T", weight_T, len(error))
    if suffix is not None and not 1 <= suffix <= len(error):
        raise ValueError(f"suffix is {suffix}: it must be from 1 to the number of events, {len(error)}")
    if not (weight >= 0).all():
        raise ValueError(f"weight_T must hold numbers >= 0, got {weight.tolist()}")
    chosen = ~np.isnan(error) & (np.arange(len(error)) >= len(error) - (suffix or len(error)))
    total = weight[chosen].sum()
    return float(error[chosen] @ weight[chosen] / total) if total else float("nan")


def relative_flops(flops_T: ArrayLike, reference_T: ArrayLike) -> Vector:
    """Return (T,): rho_t = C_t / C_t^b, below 1 for a learner that has paid less than the reference.

    Args:
        flops_T: C_t of the learner, the sums of what each task up to t has cost.
        reference_T: C_t^b of the reference; where it is 0, the ratio is NaN.

    Raises:
        ValueError: If the lengths differ.
    """
    flops = _vector("flops_T", flops_T)
    return _ratio(flops, _vector("reference_T", reference_T, len(flops)))


def cumulative_regret(error_T: ArrayLike, reference_T: ArrayLike) -> Vector:
    """Return (T,): G_t = sum_{s<=t} (e_s - e_s^b), negative for a learner better than the reference.

    Args:
        error_T: e_t of the learner.
        reference_T: e_t^b of the reference.

    Returns:
        NaN from the first event on that either of them lacks.

    Raises:
        ValueError: If the lengths differ.
    """
    error = _vector("error_T", error_T)
    return np.cumsum(error - _vector("reference_T", reference_T, len(error)))


def normalised_regret(error_T: ArrayLike, reference_T: ArrayLike, variant: RegretVariant = "per_task") -> Vector:
    """Return (T,): the regret G_t over its size so far.

    ``per_task``: G_t / t, in points of error a task. ``relative``: G_t / sum_{s<=t} e_s^b, the share of the reference's
    errors that the learner makes more, or fewer. Which of them, if either, is the paper's could not be verified.

    Args:
        error_T: e_t of the learner.
        reference_T: e_t^b of the reference.
        variant: The normaliser.

    Raises:
        ValueError: If the lengths differ, or the variant is neither.
    """
    regret = cumulative_regret(error_T, reference_T)
    if variant == "per_task":
        return regret / np.arange(1, len(regret) + 1)
    if variant == "relative":
        return _ratio(regret, np.cumsum(_vector("reference_T", reference_T)))
    raise ValueError(f"variant is {variant!r}: it must be 'per_task' or 'relative'")


def forward_transfer_from_scratch(
    error_T: ArrayLike, reference_T: ArrayLike, variant: TransferVariant = "points"
) -> Vector:
    """Return (T,): what earlier tasks did for task t, against a reference that starts from scratch; positive is good.

    ``points``: F_t = e_t^b - e_t. ``relative``: F_t = (e_t^b - e_t) / e_t^b, NaN where the reference makes no error.
    `average_error` averages them. Differs from `continual_df.evaluation.matrix.forward_transfer`, which compares a task that
    was not learnt yet with no training at all.

    Args:
        error_T: e_t of the learner.
        reference_T: e_t^b of the reference.
        variant: Points of error, or shares of the reference's.

    Raises:
        ValueError: If the lengths differ, or the variant is neither.
    """
    error = _vector("error_T", error_T)
    reference = _vector("reference_T", reference_T, len(error))
    if variant == "points":
        return reference - error
    if variant == "relative":
        return _ratio(reference - error, reference)
    raise ValueError(f"variant is {variant!r}: it must be 'points' or 'relative'")


def pareto_front(cost_N: ArrayLike, error_N: ArrayLike) -> NDArray[np.intp]:
    """Return the indices of the points that no other point dominates, by rising cost.

    A point dominates another if neither its cost nor its error is higher, and one of them is lower; so points that agree in
    both are on the front together.

    Args:
        cost_N: C_T, or any function of it that rises with it.
        error_N: E.

    Raises:
        ValueError: If the lengths differ, or a value is NaN: a point that was not measured has no place.
    """
    cost = _vector("cost_N", cost_N)
    error = _vector("error_N", error_N, len(cost))
    for name, values in (("cost_N", cost), ("error_N", error)):
        if np.isnan(values).any():
            raise ValueError(
                f"{name} is NaN at {np.flatnonzero(np.isnan(values)).tolist()}: leave out what has no value"
            )
    no_worse = (cost[:, None] <= cost) & (error[:, None] <= error)
    dominates = no_worse & ((cost[:, None] < cost) | (error[:, None] < error))
    front = np.flatnonzero(~dominates.any(axis=0))
    return front[np.argsort(cost[front], kind="stable")]


def flops_to_reach(flops_E: ArrayLike, error_E: ArrayLike, target: float) -> float:
    """Return the cumulative FLOPs at the first validation whose error is at most ``target``, NaN if none is.

    Divided by c_t^b, with the reference's error as target, it is NEVIS's compute-normalised transfer.

    Args:
        flops_E: FLOPs spent up to each of E validations.
        error_E: Validation error; NaN where not measured, which reaches nothing.
        target: Error to be reached; NaN is never reached.

    Raises:
        ValueError: If the lengths differ, or ``flops_E`` falls or has a NaN.
    """
    flops = _vector("flops_E", flops_E)
    error = _vector("error_E", error_E, len(flops))
    if np.isnan(flops).any() or (np.diff(flops) < 0).any():
        raise ValueError(f"flops_E must not fall, and have no NaN, got {flops.tolist()}")
    reached = np.flatnonzero(error <= target)
    return float(flops[reached[0]]) if len(reached) else float("nan")


def _vector(name: str, values: ArrayLike, length: int | None = None) -> Vector:
    """Return ``values`` as float64 of one axis, None as NaN."""
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or (length is not None and len(vector) != length):
        expected = "one axis" if length is None else f"shape ({length},)"
        raise ValueError(f"{name} must have {expected}, got shape {vector.shape}")
    return vector


def _ratio(above: Vector, below: Vector) -> Vector:
    """Return the quotients, NaN where ``below`` is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
